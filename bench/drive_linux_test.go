package main

import (
	"bufio"
	"testing"
)

func TestSmallAnswersAreReadAsAnyAre(t *testing.T) {
	d := &driver{reader: bufio.NewReader(nil)}
	for _, c := range []struct {
		answer string
		small  bool
	}{
		{"HTTP/1.1 201 Created\r\nDate: x\r\nContent-Length: 4\r\n\r\na\r\n\r", true},
		{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: y\r\n\r\n", true},
		{"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nab", false},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", false},
		{"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", false},
		{"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n", false},
		{"HTTP/1.1\r\nContent-Length: 0\r\n\r\n", false},
		{"HTTP/1.1 2\r\nContent-Length: 0\r\n\r\n", false},
	} {
		for n := range len(c.answer) + 1 {
			part := []byte(c.answer[:n])
			status, whole := readSmall(part)
			wantStatus, wantWhole, err := d.readAny(part)
			if whole && (!wantWhole || status != wantStatus || err != nil) {
				t.Errorf("%q is %d, but read in full %d %v %v", part, status, wantStatus, wantWhole, err)
			}
			if whole != (c.small && n == len(c.answer)) {
				t.Errorf("%q: whole is %v", part, whole)
			}
		}
	}
}
