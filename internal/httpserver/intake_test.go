package httpserver

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"

	"canopy/internal/memory"
)

// A header of short lines takes many times its bytes, until its request is answered.
func TestHeadersAreCountedByLines(t *testing.T) {
	budget := memory.New(1<<30, nil)
	connections := NewBudget(0, nil, nil)
	connections.Bound(budget, ConnectionBytes)
	s := newSite(t, connections, Options{Memory: budget, ConnState: connections.ConnState})
	const line = "a:\r\n"
	conn := s.dial("GET /v2/keys HTTP/1.1\r\nHost: localhost\r\n" + strings.Repeat(line, 10_000))
	eventually(t, "the header to be counted", func() bool { return budget.Used() >= 10_000*headerLineBytes })
	if _, err := io.WriteString(conn, "\r\n"); err != nil {
		t.Fatal(err)
	}
	if response, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || response.StatusCode != 200 {
		t.Fatalf("the request = %v, %v", response, err)
	}
	eventually(t, "only the connection to count", func() bool { return budget.Used() == ConnectionBytes })
	for range 20 { // small ones on one connection never count
		if _, err := io.WriteString(conn, "GET /version HTTP/1.1\r\nHost: localhost\r\nX-A: "+strings.Repeat("a", 1000)+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	in := bufio.NewReader(conn)
	for range 20 {
		response, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, response.Body)
	}
	conn.Close()
	eventually(t, "nothing to be left", func() bool { return budget.Used() == 0 })
}
