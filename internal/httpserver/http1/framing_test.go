package http1

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestAnUnclearFramingEndsTheConnection sends requests that state the end of their body in one or two ways, also as the
// second request of a connection, and in parts. After a request with two ways there is no further answer.
func TestAnUnclearFramingEndsTheConnection(t *testing.T) {
	s := newSite(t, way{})
	close(s.leave)
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	go func() { // the test looks at the answers only
		for {
			select {
			case <-s.entered:
			case <-done:
				return
			}
		}
	}()
	const next = "GET /next HTTP/1.1\r\nHost: x\r\n\r\n"
	chunked, both := "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
	for name, each := range map[string]struct {
		text    string
		answers int // including that to /next
	}{
		"a length":                    {"PUT /other HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab" + next, 2},
		"chunks":                      {"PUT /other HTTP/1.1\r\nHost: x\r\n" + chunked + next, 2},
		"chunks twice":                {strings.Repeat("PUT /other HTTP/1.1\r\nHost: x\r\n"+chunked, 2) + next, 3},
		"both":                        {"PUT /other HTTP/1.1\r\nHost: x\r\n" + both + next, 1},
		"both, of the second request": {"PUT /other HTTP/1.1\r\nHost: x\r\n" + chunked + "PUT /other HTTP/1.1\r\nHost: x\r\n" + both + next, 2},
		"both, in other letters":      {"PUT /other HTTP/1.1\r\nHost: x\r\nCONTENT-length: 4\r\ntransfer-ENCODING: chunked\r\n\r\n0\r\n\r\n" + next, 1},
		"chunks in HTTP/1.0":          {"PUT /other HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + next, 1},
		"a length in HTTP/1.0":        {"PUT /other HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + next, 2},
	} {
		for _, part := range []int{1, len(each.text)} {
			n := answersTo(t, s.dial(t).Conn, each.text, part)
			early := n == 1 && strings.Contains(name, "second") // it arrives together with the first one
			if n != each.answers && !early {
				t.Errorf("%s, in parts of %d bytes: %d answers, want %d", name, part, n, each.answers)
			}
		}
	}
}

// answersTo sends a text in parts, and counts the answers until the server closes or /next is answered.
func answersTo(t *testing.T, conn net.Conn, text string, part int) int {
	t.Helper()
	defer conn.Close()
	go func() {
		for len(text) > 0 {
			n, err := io.WriteString(conn, text[:min(part, len(text))])
			if err != nil {
				return // the server has closed, as it should
			}
			text = text[n:]
		}
	}()
	in := bufio.NewReader(conn)
	for n := 0; ; n++ {
		answer, err := http.ReadResponse(in, nil)
		if err != nil {
			return n
		}
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(body), "/next") {
			return n + 1
		}
	}
}
