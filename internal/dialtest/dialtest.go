// Package dialtest sends tests' requests as bytes, which no client would send.
package dialtest

import (
	"io"
	"net"
	"testing"
	"time"
)

// Dial opens a connection that ends with the test, has a deadline, and begins with a text. The server may have closed it
// before it has read all of that.
func Dial(t testing.TB, address, text string, patience time.Duration) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, text) // reading tells of a failure
	return conn
}
