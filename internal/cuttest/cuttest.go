// Package cuttest sends requests of which the last part is missing, for the tests of all servers that must not carry
// them out.
package cuttest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// patience is how long a server may take for an answer.
const patience = time.Minute

// A Request is one in the bytes of HTTP/1, which says that it has a body.
type Request struct {
	Name string
	head string
	body string // as it is sent, with the frames of chunks
}

// Requests gives requests of a method with bodies of every kind, a form, something else and nothing known, in every
// framing.
func Requests(method, target string) []Request {
	var all []Request
	for contentType, body := range map[string]string{"": "value=cut", "application/json": `{"value":"cut"}`, "application/x-www-form-urlencoded": "value=cut"} {
		line := ""
		if contentType != "" {
			line = "Content-Type: " + contentType + "\r\n"
		}
		half := len(body) / 2
		chunks := fmt.Sprintf("%x\r\n%s\r\n%x\r\n%s\r\n0\r\n", half, body[:half], len(body)-half, body[half:])
		for framing, framed := range map[string][2]string{
			"a length":             {"Content-Length: " + strconv.Itoa(len(body)) + "\r\n", body},
			"a length in HTTP/1.0": {"Content-Length: " + strconv.Itoa(len(body)) + "\r\n", body},
			"chunks":               {"Transfer-Encoding: chunked\r\n", chunks + "\r\n"},
			"chunks and a trailer": {"Transfer-Encoding: chunked\r\nTrailer: A\r\n", chunks + "A: b\r\n\r\n"},
		} {
			version := "HTTP/1.1"
			if strings.HasSuffix(framing, "1.0") {
				version = "HTTP/1.0"
			}
			head := method + " " + target + " " + version + "\r\nHost: 127.0.0.1\r\n" + line + framed[0] + "\r\n"
			all = append(all, Request{fmt.Sprintf("%s of %q with %s", method, contentType, framing), head, framed[1]})
		}
	}
	return all
}

// Whole sends all of a request, and gives the status of the answer.
func (r Request) Whole(t testing.TB, addr string) int {
	t.Helper()
	conn := r.begin(t, addr, len(r.body))
	defer conn.Close()
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%s: %v", r.Name, err)
	}
	return answer.StatusCode
}

// Cuts gives numbers of bytes after which a body is cut: at its beginning, between its parts, and all at its end, where
// a chunked one has its last chunk.
func (r Request) Cuts() []int {
	all := len(r.body)
	return []int{0, 1, 3, all / 3, all / 2, all - 5, all - 4, all - 3, all - 2, all - 1}
}

// Cut sends the first n bytes of a body, closes its side of the connection, and gives the answer.
func (r Request) Cut(t testing.TB, addr string, n int) string {
	t.Helper()
	conn := r.begin(t, addr, n)
	defer conn.Close()
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("%s, cut after %d bytes: %v after %q", r.Name, n, err, text)
	}
	return string(text)
}

// Leave sends the first n bytes of a body, and closes or resets the connection.
func (r Request) Leave(t testing.TB, addr string, n int, reset bool) {
	t.Helper()
	conn := r.begin(t, addr, n)
	if reset {
		if err := conn.SetLinger(0); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
}

func (r Request) begin(t testing.TB, addr string, n int) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, r.head+r.body[:n]); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// IsRefused tells whether an answer says that the request was cut, in the words of the keys API.
func IsRefused(answer string) bool {
	return strings.Contains(answer, " 400 Bad Request\r\n") && strings.Contains(answer, `{"errorCode":210,"message":"Invalid POST form","cause":"`) &&
		strings.Contains(answer, "unexpected EOF")
}
