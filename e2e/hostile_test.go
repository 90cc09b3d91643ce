package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// residentBytes is the server's memory as the system sees it.
func (s *server) residentBytes() int64 {
	s.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.command.Process.Pid))
	if err != nil {
		s.t.Skipf("the system does not tell a process's memory: %v", err)
	}
	for _, line := range strings.Split(string(status), "\n") {
		if kib, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(kib, "kB")), 10, 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return n << 10
		}
	}
	s.t.Fatal("no VmRSS in the process's status")
	return 0
}

func (s *server) dial() net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.client, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(hang)); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// undisturbed checks that an ordinary client is served at once.
func (s *server) undisturbed() {
	s.t.Helper()
	begin := time.Now()
	s.must(http.StatusOK, "PUT", "/v2/keys/ordinary", "value=1")
	if took := time.Since(begin); *full && took > time.Second {
		s.t.Errorf("an ordinary write took %v", took)
	}
}

// TestHostileConnections: whatever comes over the port is answered or cut off,
// memory is bounded, and other clients are served meanwhile (R74, R77, R78).
func TestHostileConnections(t *testing.T) {
	parallel(t)
	s := newServer(t, "--header-timeout", "2s", "--body-timeout", "2s").start()
	s.must(http.StatusCreated, "PUT", "/v2/keys/ordinary", "value=1")
	before := s.residentBytes()
	cases := []struct {
		name  string
		write func(w io.Writer) error
	}{
		{"garbage", func(w io.Writer) error {
			_, err := w.Write(bytes.Repeat([]byte{0xff, 0x00, 0x16, 0x03}, 4096))
			return err
		}},
		{"endless headers", func(w io.Writer) error { return endlessHeaders(w) }},
		{"half a header", func(w io.Writer) error {
			_, err := io.WriteString(w, "GET /v2/keys/ HTTP/1.1\r\nHost: x\r\nX-")
			return err
		}},
		{"a body that never comes", func(w io.Writer) error {
			_, err := io.WriteString(w, "PUT /v2/keys/k HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\nval")
			return err
		}},
		{"chunks that are mostly extension", func(w io.Writer) error { return chunkExtensions(w) }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			connection := s.dial()
			err := c.write(connection)
			s.undisturbed()
			if err != nil {
				return // cut off while it was still talking
			}
			if _, err := io.Copy(io.Discard, connection); isTimeout(err) {
				t.Error("the connection is still open after 20 s")
			}
		})
	}
	if grown := s.residentBytes() - before; grown > 256<<20 {
		t.Errorf("the server has grown by %d MiB", grown>>20)
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

func endlessHeaders(w io.Writer) error {
	if _, err := io.WriteString(w, "GET /v2/keys/ HTTP/1.1\r\nHost: localhost\r\n"); err != nil {
		return err
	}
	line := []byte("X-Filler: " + strings.Repeat("a", 1000) + "\r\n")
	for range 64 << 10 { // 64 MiB in all
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	return nil
}

func chunkExtensions(w io.Writer) error {
	head := "PUT /v2/keys/k HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n"
	if _, err := io.WriteString(w, head); err != nil {
		return err
	}
	chunk := []byte("1;" + strings.Repeat("e", 1000) + "\r\nx\r\n")
	for range 4 << 10 {
		if _, err := w.Write(chunk); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, "0\r\n\r\n")
	return err
}

// TestManyHalfOpenConnections: clients that send half a header and wait do not
// keep others from being served (R74).
func TestManyHalfOpenConnections(t *testing.T) {
	parallel(t)
	s := newServer(t).start()
	s.must(http.StatusCreated, "PUT", "/v2/keys/ordinary", "value=1")
	for range 500 {
		if _, err := io.WriteString(s.dial(), "GET /v2/keys/ HTTP/1.1\r\nHos"); err != nil {
			t.Fatal(err)
		}
	}
	s.undisturbed()
}

// TestBodiesAroundTheLimit: 10 MiB is taken, one byte more is refused with a
// clear error, with a length and without (K14, R77).
func TestBodiesAroundTheLimit(t *testing.T) {
	parallel(t)
	s := newServer(t).start()
	const limit = 10 << 20
	for _, chunked := range []bool{false, true} {
		for _, over := range []int{0, 1} {
			t.Run(fmt.Sprintf("%d over, chunked %v", over, chunked), func(t *testing.T) {
				body := io.Reader(strings.NewReader("value=" + strings.Repeat("x", limit-len("value=")+over)))
				if chunked {
					body = io.MultiReader(body) // hides its length
				}
				request, err := http.NewRequest("PUT", s.client+"/v2/keys/big", body)
				if err != nil {
					t.Fatal(err)
				}
				request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				response, err := http.DefaultClient.Do(request)
				if err != nil {
					t.Fatal(err)
				}
				defer response.Body.Close()
				text, err := io.ReadAll(response.Body)
				if err != nil {
					t.Fatal(err)
				}
				if over == 0 && response.StatusCode >= 300 || over == 1 && (response.StatusCode != 400 || !bytes.Contains(text, []byte("http: POST too large"))) {
					t.Errorf("answer = %d %.200s", response.StatusCode, text)
				}
			})
		}
	}
}

// TestDeepAndWideTrees: 10,000 components and many children are answered, in
// full, before and after a restart (R54).
func TestDeepAndWideTrees(t *testing.T) {
	parallel(t)
	s := newServer(t, "--snapshot-count", "1000", "--max-key-depth", "0", "--max-key-bytes", "0").start()
	deep := strings.Repeat("/d", 10_000)
	s.must(http.StatusCreated, "PUT", "/v2/keys"+deep, "value=bottom")
	const children = 20_000
	fillWide(t, s, children)
	for range 2 {
		if a := s.must(http.StatusOK, "GET", "/v2/keys/d?recursive=true", ""); !strings.Contains(a.body, `"value":"bottom"`) {
			t.Error("the listing does not reach the bottom")
		}
		if a := s.must(http.StatusOK, "GET", "/v2/keys/wide", ""); strings.Count(a.body, `"key":"/wide/`) != children {
			t.Errorf("%d children are listed, want %d", strings.Count(a.body, `"key":"/wide/`), children)
		}
		s.kill()
		s.start()
	}
	s.must(http.StatusOK, "DELETE", "/v2/keys/d?recursive=true", "")
	s.must(http.StatusNotFound, "GET", "/v2/keys"+deep, "")
}

// fillWide writes the children of /wide over one connection, many requests at
// a time without waiting for each answer.
func fillWide(t *testing.T, s *server, children int) {
	t.Helper()
	connection := s.dial()
	go func() {
		w := bufio.NewWriter(connection)
		for i := range children {
			fmt.Fprintf(w, "PUT /v2/keys/wide/%d?value=x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", i)
		}
		w.Flush() // a failure shows as missing answers
	}()
	r := bufio.NewReader(connection)
	for i := range children {
		if err := connection.SetDeadline(time.Now().Add(hang)); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != http.StatusCreated {
			t.Fatalf("answer %d: %d %v", i, response.StatusCode, err)
		}
	}
}
