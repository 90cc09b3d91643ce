package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// budgetMiB is the budget of the servers below, and grownMiB what their memory
// may grow by under attack: the budget, and garbage. Without a budget it is
// some hundred MiB.
const (
	budgetMiB = 8
	grownMiB  = 80
)

// tighten gives a server that is not started yet a small budget. Garbage goes
// soon, so that what is resident says what is held.
func (s *server) tighten() *server {
	s.flags = append(s.flags, "--memory-budget", fmt.Sprintf("%dMiB", budgetMiB), "--history-bytes", "64KiB")
	s.environ = []string{"GOGC=50"}
	return s
}

func newTightServer(t *testing.T) *server {
	t.Helper()
	s := newServer(t).tighten().start()
	s.must(http.StatusCreated, "PUT", "/v2/keys/ordinary", "value=1")
	return s
}

// large is a form with a value that is six times as long in an answer.
func large(bytes int) string { return "value=" + strings.Repeat("\x01", bytes) }

// dialMany makes connections before memory is used up, so that each is let in.
func (s *server) dialMany(n int) (all []net.Conn) {
	s.t.Helper()
	for range n {
		all = append(all, s.dial())
	}
	return all
}

// servesOthers checks that small requests and an operator's are answered, over
// a connection of their own, and that memory is bounded.
func (s *server) servesOthers(before int64) {
	s.t.Helper()
	http.DefaultClient.CloseIdleConnections() // the server may close an idle one just when it is used
	s.must(http.StatusOK, "PUT", "/v2/keys/ordinary", "value=1")
	s.must(http.StatusOK, "GET", "/v2/keys/ordinary?quorum=true", "")
	s.must(http.StatusCreated, "PUT", "/v2/keys/passing", "value=1")
	s.must(http.StatusOK, "DELETE", "/v2/keys/passing", "")
	s.must(http.StatusOK, "GET", "/health", "")
	s.must(http.StatusOK, "GET", "/v2/members", "")
	if a := s.postJSON("POST", "/v2/members", `{"peerURLs":["`+s.peer+`"]}`); a.status != http.StatusConflict {
		s.t.Errorf("adding this member again = %d %s, want 409", a.status, a.body)
	}
	s.awaitBudget()
	if grown := s.residentBytes() - before; grown > grownMiB<<20 {
		s.t.Errorf("the server has grown by %d MiB", grown>>20)
	}
}

// awaitBudget waits until no more than the budget is in use. It can be more for a moment: events that watchers share, and
// what is held anyway, count before those that stall have been cut off for it.
func (s *server) awaitBudget() {
	s.t.Helper()
	eventually(s.t, time.Minute, "memory to be within its budget", func() error {
		used := s.metric("canopy_memory_budget_used_bytes")
		if used > budgetMiB<<20 || used == 0 {
			return fmt.Errorf("%.1f MiB of a budget of %d are in use", used/(1<<20), budgetMiB)
		}
		return nil
	})
}

// TestSlowReadersKeepLittleMemory: clients ask for a large value, and read
// nothing. Who reads gets it in the end.
func TestSlowReadersKeepLittleMemory(t *testing.T) {
	parallel(t)
	s := newTightServer(t)
	s.must(http.StatusCreated, "PUT", "/v2/keys/d/large?noValueOnSuccess=true", large(1<<20))
	before := s.residentBytes()
	for n, connection := range s.dialMany(80) {
		path := []string{"/v2/keys/d/large", "/v2/keys/d"}[n%2]
		fmt.Fprintf(connection, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path) // fails if it was cut off
	}
	s.servesOthers(before)
	eventually(t, time.Minute, "a client that reads to get the value", func() error {
		a, err := s.do("GET", "/v2/keys/d/large", "")
		if err == nil && (a.status != http.StatusOK || len(a.body) < 6<<20) {
			err = fmt.Errorf("%d, %d bytes %.200s", a.status, len(a.body), a.body)
		}
		return err
	})
	if s.metric("canopy_memory_refused_total") == 0 {
		t.Error("nobody was turned away")
	}
	s.waitLine("the memory budget of 8 MiB is used up")
}

// TestSlowReadersKeepLittleMemoryOfAProxy: they come through it, and so do their
// events and their bodies that do not end. Small requests are passed on.
func TestSlowReadersKeepLittleMemoryOfAProxy(t *testing.T) {
	parallel(t)
	s := newServer(t).start()
	s.must(http.StatusCreated, "PUT", "/v2/keys/large?noValueOnSuccess=true", large(1<<20))
	p := newProxy(t, s).tighten()
	p.launch()
	p.awaitEndpoints(1)
	before := p.residentBytes()
	form := large(1 << 20)
	for n, connection := range p.dialMany(120) {
		_, _ = io.WriteString(connection, []string{
			"GET /v2/keys/large HTTP/1.1\r\nHost: localhost\r\n\r\n",
			"GET /v2/keys/large?wait=true&stream=true&waitIndex=1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
			"PUT /v2/keys/k HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 2000000\r\n\r\n" + form,
		}[n%3]) // fails if it was cut off
	}
	p.must(http.StatusCreated, "PUT", "/v2/keys/ordinary", "value=1")
	p.must(http.StatusOK, "GET", "/v2/keys/ordinary", "")
	p.awaitBudget()
	if grown := p.residentBytes() - before; grown > grownMiB<<20 {
		t.Errorf("the proxy has grown by %d MiB", grown>>20)
	}
	if p.metric("canopy_memory_refused_total") == 0 {
		t.Error("nobody was turned away")
	}
}

// TestOverwrittenValuesAreNotKept: each slow reader has asked for another value.
func TestOverwrittenValuesAreNotKept(t *testing.T) {
	parallel(t)
	s := newTightServer(t)
	s.must(http.StatusCreated, "PUT", "/v2/keys/large?noValueOnSuccess=true", large(300<<10))
	before := s.residentBytes()
	for _, connection := range s.dialMany(60) {
		fmt.Fprint(connection, "GET /v2/keys/large HTTP/1.1\r\nHost: localhost\r\n\r\n")
		eventually(t, time.Minute, "a large write", func() error {
			a, err := s.do("PUT", "/v2/keys/large?noValueOnSuccess=true", large(300<<10))
			if err == nil && a.status != http.StatusOK {
				err = fmt.Errorf("%d %.200s", a.status, a.body)
			}
			return err
		})
	}
	s.servesOthers(before)
}

// TestUnfinishedHeadersKeepLittleMemory: headers of many short lines, which
// take much more than their bytes, and do not end.
func TestUnfinishedHeadersKeepLittleMemory(t *testing.T) {
	parallel(t)
	s := newTightServer(t)
	before := s.residentBytes()
	var header bytes.Buffer
	header.WriteString("GET /v2/keys HTTP/1.1\r\nHost: localhost\r\n")
	for n := range 8000 {
		fmt.Fprintf(&header, "%04d:\r\n", n)
	}
	for _, connection := range s.dialMany(200) {
		_, _ = connection.Write(header.Bytes()) // fails if it was cut off
	}
	s.servesOthers(before)
	if s.metric("canopy_memory_refused_total") == 0 {
		t.Error("nobody was turned away")
	}
}

// TestUnfinishedBodiesKeepLittleMemory: forms of a MiB that stop before the end.
func TestUnfinishedBodiesKeepLittleMemory(t *testing.T) {
	parallel(t)
	s := newTightServer(t)
	before := s.residentBytes()
	form := large(1 << 20)
	senders := s.dialMany(40)
	for _, connection := range senders {
		fmt.Fprintf(connection, "PUT /v2/keys/k HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n", len(form))
		_, _ = io.WriteString(connection, form[:len(form)-1]) // fails if it was cut off
	}
	s.servesOthers(before)
	refused := 0
	for _, connection := range senders {
		_, _ = io.WriteString(connection, form[len(form)-1:])
		answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
		if err != nil {
			continue // cut off
		}
		io.Copy(io.Discard, answer.Body)
		if answer.StatusCode == http.StatusServiceUnavailable && answer.Header.Get("Retry-After") != "" {
			refused++
		}
	}
	if refused == 0 {
		t.Error("no body was refused with 503 and Retry-After")
	}
}

// TestLaggingWatchersKeepLittleMemory: streams that do not read, while large
// events come. A stream that reads gets every one.
func TestLaggingWatchersKeepLittleMemory(t *testing.T) {
	parallel(t)
	s := newTightServer(t)
	s.must(http.StatusCreated, "PUT", "/v2/keys/w", "value=1")
	before := s.residentBytes()
	const watch = "GET /v2/keys/w?wait=true&stream=true HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for _, connection := range s.dialMany(40) {
		fmt.Fprint(connection, watch)
	}
	response, err := http.Get(s.client + "/v2/keys/w?wait=true&stream=true")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	reader := bufio.NewReader(response.Body)
	for n := range 60 {
		s.must(http.StatusOK, "PUT", "/v2/keys/w?noValueOnSuccess=true", large(100<<10))
		if line, err := reader.ReadString('\n'); err != nil || !strings.Contains(line, `"action":"set"`) {
			t.Fatalf("event %d: %.100q, %v", n, line, err)
		}
	}
	s.servesOthers(before)
}
