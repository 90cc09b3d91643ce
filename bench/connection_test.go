package main

import (
	"bufio"
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAnswersAreReadWhole(t *testing.T) {
	cases := []struct {
		name, answer string
		status       int
		body         string
		fails        bool
	}{
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", false},
		{"no body", "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", 204, "", false},
		{"chunks", "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", 201, "hello", false},
		{"cut body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", 200, "hel", true},
		{"cut chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nh", 200, "h", true},
		{"bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 200, "", true},
		{"negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", 0, "", true},
		{"no frame", "HTTP/1.1 200 OK\r\n\r\nhello", 0, "", true},
		{"no HTTP", "SSH-2.0-x\r\n\r\n", 0, "", true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := bufio.NewReader(strings.NewReader(c.answer))
			var body bytes.Buffer
			h, err := readHead(r)
			if err == nil {
				err = readBody(r, h, &body)
			}
			if (err != nil) != c.fails || body.String() != c.body || !c.fails && h.status != c.status {
				t.Errorf("answer = %d %q, %v; want %d %q, failure %v", h.status, body.String(), err, c.status, c.body, c.fails)
			}
		})
	}
}

func TestOneConnectionServesManyExchanges(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte(r.FormValue("value"))) // a failure shows as a wrong body
	}))
	defer server.Close()
	c, err := dial(target{endpoint: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, size := range []int{0, 1, 64, 100_000} {
		var body bytes.Buffer
		status, err := c.exchange(target{}.put("/k", size, ""), &body)
		if err != nil || status != 200 || body.Len() != size {
			t.Errorf("exchange of %d bytes = %d, %d bytes, %v", size, status, body.Len(), err)
		}
	}
}

func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		r := bufio.NewReader(bytes.NewReader(answer))
		var body bytes.Buffer
		if h, err := readHead(r); err == nil {
			err = readBody(r, h, &body)
			if body.Len() > len(answer) {
				t.Errorf("%d bytes were read of %d, %v", body.Len(), len(answer), err)
			}
		}
	})
}
