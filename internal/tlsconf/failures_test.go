package tlsconf

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// from is a connection of which only the address is known.
type from struct {
	net.Conn
	host string
	port int
}

func (c from) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(c.host), Port: c.port} }

// debugLines is a log with the level before each line.
type debugLines struct{ lines }

func (l *debugLines) Debugf(format string, args ...any) { l.Infof("debug: "+format, args...) }

// TestEachCauseIsToldOncePerHost checks T29 with given time: one line per cause and host in 10 s, and a count of all.
func TestEachCauseIsToldOncePerHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, counted := &debugLines{}, map[string]int{}
		f := NewFailures("client", log, func(reason string) { counted[reason]++ })
		noCertificate := errors.New("tls: client didn't provide a certificate")
		for port, step := range []struct {
			after time.Duration
			host  string
			err   error
			lines int
		}{
			{0, "10.0.0.1", noCertificate, 1},
			{time.Second, "10.0.0.1", noCertificate, 1},
			{0, "10.0.0.2", noCertificate, 2},
			{0, "10.0.0.1", io.EOF, 3},
			{8 * time.Second, "10.0.0.1", noCertificate, 3},
			{time.Second, "10.0.0.1", noCertificate, 4},
			{0, "::1", noCertificate, 5},
		} {
			time.Sleep(step.after)
			f.Failed(from{host: step.host, port: port + 1}, step.err)
			if len(log.text) != step.lines {
				t.Errorf("step %d: %d lines, want %d: %q", port, len(log.text), step.lines, log.text)
			}
		}
		if counted[NoCertificate] != 6 || counted[Closed] != 1 {
			t.Errorf("counted %v", counted)
		}
		if want := "warning: TLS handshake with 10.0.0.1:1 on the client port failed: the other side shows no certificate"; !strings.HasPrefix(log.text[0], want) {
			t.Errorf("the first line is %q", log.text[0])
		}
		if !strings.HasPrefix(log.text[2], "debug: ") {
			t.Errorf("who leaves is told with %q", log.text[2])
		}
	})
}

// What is remembered of failures is bounded, and what was not told is told of later.
func TestFailuresOfManyHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, counted := &debugLines{}, 0
		f := NewFailures("peer", log, func(string) { counted++ })
		const hosts = failuresMax + 100
		for i := range hosts {
			f.Failed(from{host: fmt.Sprintf("10.0.%d.%d", i/256, i%256), port: 1}, errors.New("odd"))
		}
		if len(f.told) != failuresMax || len(log.text) != failuresMax || counted != hosts {
			t.Errorf("%d are remembered, %d told, %d counted", len(f.told), len(log.text), counted)
		}
		time.Sleep(failurePeriod)
		f.Failed(from{host: "10.1.0.1", port: 1}, errors.New("odd"))
		if last := log.text[len(log.text)-1]; !strings.Contains(last, "100 others, of too many hosts to tell of each, failed before") || len(f.told) != 1 {
			t.Errorf("the next line is %q, and %d are remembered", last, len(f.told))
		}
	})
}
