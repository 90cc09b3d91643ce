package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

// readAll takes a stream apart into heads and bodies.
func readAll(src io.Reader) (heads []Head, bodies []string, err error) {
	r := NewReader(src)
	for {
		h, err := r.ReadHead()
		if errors.Is(err, io.EOF) {
			return heads, bodies, nil
		}
		if err != nil {
			return heads, bodies, err
		}
		var body []byte
		for {
			piece, err := r.Piece()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return heads, bodies, err
			}
			body = append(body, piece...)
		}
		heads, bodies = append(heads, h), append(bodies, string(body))
	}
}

func TestAnswersAreTakenApart(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	tests := []struct {
		name, stream string
		heads        []Head
		bodies       []string
	}{
		{"by length", ok + "Content-Length: 5\r\n\r\nhello", []Head{{Status: 200, Length: 5}}, []string{"hello"}},
		{"lower case, no spaces", ok + "content-length:2\r\n\r\nhi", []Head{{Status: 200, Length: 2}}, []string{"hi"}},
		{"empty body", ok + "Content-Length: 0\r\n\r\n", []Head{{Status: 200}}, []string{""}},
		{"no reason", "HTTP/1.1 201\r\nContent-Length: 0\r\n\r\n", []Head{{Status: 201}}, []string{""}},
		{"chunks", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n, world 42\r\n0\r\n\r\n",
			[]Head{{Status: 200, Length: -1, Chunked: true}}, []string{"hello, world 42"}},
		{"chunks with trailer", ok + "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: b\r\n\r\n",
			[]Head{{Status: 200, Length: -1, Chunked: true}}, []string{"x"}},
		{"two in a row", ok + "Content-Length: 1\r\n\r\na" + "HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nb",
			[]Head{{Status: 200, Length: 1}, {Status: 404, Length: 1}}, []string{"a", "b"}},
		{"no content", "HTTP/1.1 204 No Content\r\n\r\n" + ok + "Content-Length: 1\r\n\r\na",
			[]Head{{Status: 204, Length: -1}, {Status: 200, Length: 1}}, []string{"", "a"}},
		{"interim answer", "HTTP/1.1 100 Continue\r\n\r\n" + ok + "Content-Length: 1\r\n\r\na",
			[]Head{{Status: 200, Length: 1}}, []string{"a"}},
		{"until the end", ok + "Connection: close\r\n\r\nall of it",
			[]Head{{Status: 200, Length: -1, Close: true}}, []string{"all of it"}},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nx", []Head{{Status: 200, Length: -1, Close: true}}, []string{"x"}},
		{"longer than the buffer", ok + "Content-Length: 100000\r\n\r\n" + strings.Repeat("0123456789", 10000),
			[]Head{{Status: 200, Length: 100000}}, []string{strings.Repeat("0123456789", 10000)}},
	}
	for _, tt := range tests {
		for how, src := range map[string]io.Reader{
			"whole": strings.NewReader(tt.stream), "byte by byte": iotest.OneByteReader(strings.NewReader(tt.stream)),
		} {
			heads, bodies, err := readAll(src)
			if err != nil {
				t.Errorf("%s, %s: %v", tt.name, how, err)
				continue
			}
			if len(heads) != len(tt.heads) {
				t.Errorf("%s, %s: %d answers, want %d", tt.name, how, len(heads), len(tt.heads))
				continue
			}
			for i := range heads {
				if heads[i] != tt.heads[i] || bodies[i] != tt.bodies[i] {
					t.Errorf("%s, %s: answer %d = %+v %.40q, want %+v %.40q",
						tt.name, how, i, heads[i], bodies[i], tt.heads[i], tt.bodies[i])
				}
			}
		}
	}
}

func TestBadAnswersAreRefused(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	tests := []struct {
		name, stream string
		want         error
	}{
		{"other protocol", "SSH-2.0-x\r\n\r\n", ErrMalformed},
		{"HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", ErrMalformed},
		{"status of letters", "HTTP/1.1 abc OK\r\n\r\n", ErrMalformed},
		{"status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", ErrMalformed},
		{"header without colon", ok + "nothing\r\n\r\n", ErrMalformed},
		{"negative length", ok + "Content-Length: -1\r\n\r\n", ErrMalformed},
		{"two lengths", ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", ErrMalformed},
		{"enormous length", ok + "Content-Length: 99999999999999999999\r\n\r\n", ErrMalformed},
		{"unknown encoding", ok + "Transfer-Encoding: gzip\r\n\r\n", ErrMalformed},
		{"bad chunk size", ok + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", ErrMalformed},
		{"empty chunk size", ok + "Transfer-Encoding: chunked\r\n\r\n\r\n", ErrMalformed},
		{"enormous chunk", ok + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n", ErrMalformed},
		{"chunk too long", ok + "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", ErrMalformed},
		{"endless head", ok + strings.Repeat("A: b\r\n", bufferBytes), ErrMalformed},
		{"endless interim answers", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 20), ErrMalformed},
		{"endless trailer", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("A: b\r\n", 100), ErrMalformed},
		{"cut head", ok + "Content-Le", io.ErrUnexpectedEOF},
		{"cut body", ok + "Content-Length: 5\r\n\r\nhel", io.ErrUnexpectedEOF},
		{"cut chunk", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhel", io.ErrUnexpectedEOF},
		{"cut before a chunk", ok + "Transfer-Encoding: chunked\r\n\r\n1\r\nh\r\n", io.ErrUnexpectedEOF},
		{"cut trailer", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n", io.ErrUnexpectedEOF},
	}
	for _, tt := range tests {
		_, _, err := readAll(strings.NewReader(tt.stream))
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: error %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestReadingAnswersAllocatesNothing(t *testing.T) {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Etcd-Index: 7\r\nContent-Length: 2\r\n\r\n{}")
	src := bytes.NewReader(answer)
	r := NewReader(src)
	n := testing.AllocsPerRun(1000, func() {
		src.Reset(answer)
		if _, err := r.ReadHead(); err != nil {
			t.Fatal(err)
		}
		for {
			if _, err := r.Piece(); err != nil {
				break
			}
		}
	})
	if n != 0 {
		t.Errorf("an answer costs %v allocations", n)
	}
}

// Whatever comes, the reader ends without panic; and what it accepts as one
// answer, net/http reads as the same status and body.
func FuzzReader(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 404 x\r\n\r\nrest"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		heads, bodies, _ := readAll(bytes.NewReader(stream))
		slowHeads, slowBodies, _ := readAll(iotest.OneByteReader(bytes.NewReader(stream)))
		if len(heads) != len(slowHeads) || len(bodies) != len(slowBodies) {
			t.Fatalf("%d answers read whole, %d byte by byte", len(heads), len(slowHeads))
		}
		if len(heads) == 0 {
			return
		}
		std, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(stream)), nil)
		if err != nil || std.StatusCode < 200 {
			return // net/http is stricter about what does not matter here
		}
		defer std.Body.Close()
		body, err := io.ReadAll(std.Body)
		if err != nil {
			return
		}
		if std.StatusCode != heads[0].Status || string(body) != bodies[0] {
			t.Errorf("read %d %q, net/http reads %d %q", heads[0].Status, bodies[0], std.StatusCode, body)
		}
	})
}
