package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestADiscoveryServiceKeepsLittleMemory: clients wait, stop in the middle of a
// body, and read nothing of a large answer. Operators are answered, the others
// are told to come back, and all is served when those clients have left.
func TestADiscoveryServiceKeepsLittleMemory(t *testing.T) {
	parallel(t)
	place := newService(t, "--memory-budget", fmt.Sprintf("%dMiB", budgetMiB), "--new-rate", "0")
	s := place.server
	token := strings.TrimPrefix(place.newToken(3), s.client)
	for n := range 100 {
		peer := fmt.Sprintf("m%d=http://%s:%d", n, strings.Repeat("x", 3000), n+1)
		s.must(http.StatusCreated, http.MethodPut, fmt.Sprintf("%s/%x", token, n+1), "value="+peer)
	}
	before := s.residentBytes()
	all := s.dialMany(180)
	for n, connection := range all {
		_, _ = io.WriteString(connection, []string{
			"GET " + token + "?wait=true&recursive=true HTTP/1.1\r\nHost: localhost\r\n\r\n",
			"PUT " + token + "/fff HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 16000\r\n\r\nvalue=x",
			"GET " + token + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
		}[n%3]) // fails if it was cut off
	}
	s.must(http.StatusOK, http.MethodGet, "/health", "")
	s.awaitBudget()
	if grown := s.residentBytes() - before; grown > grownMiB<<20 {
		t.Errorf("the service has grown by %d MiB", grown>>20)
	}
	if !oneIsRefused(all) || s.metric("canopy_memory_refused_total") == 0 {
		t.Error("no request was refused with 503 and Retry-After, and counted")
	}
	s.waitLine("the memory budget of 8 MiB is used up")
	eventually(t, time.Minute, "the others to be served when those clients have left", func() error {
		a, err := s.do(http.MethodGet, token, "")
		if err == nil && (a.status != http.StatusOK || len(a.body) < 300_000) {
			err = fmt.Errorf("%d, %d bytes %.200s", a.status, len(a.body), a.body)
		}
		return err
	})
}

// oneIsRefused waits until a request on one of the connections is refused for want of memory, and closes all.
func oneIsRefused(all []net.Conn) bool {
	refused := make(chan bool, len(all))
	for _, connection := range all {
		go func() {
			answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
			refused <- err == nil && answer.StatusCode == http.StatusServiceUnavailable && answer.Header.Get("Retry-After") != ""
		}()
	}
	limit := time.AfterFunc(hang, func() { closeAll(all) })
	defer limit.Stop()
	found := false
	for n := 0; n < len(all); n++ {
		if <-refused && !found {
			found = true
			closeAll(all)
		}
	}
	return found
}

func closeAll(all []net.Conn) {
	for _, connection := range all {
		_ = connection.Close()
	}
}
