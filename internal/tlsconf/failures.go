package tlsconf

import (
	"net"
	"sync"
	"time"
)

// Failures tells of the handshakes of a port that fail: each is counted, and each cause is logged once per remote host and
// period, so that nobody can fill the log. It is used by any number of goroutines.
type Failures struct {
	port  string
	log   FailureLog
	count func(reason string)

	mu   sync.Mutex // guards told and missed
	told map[failure]time.Time
	// missed counts what was not logged since the last line, as told was full.
	missed int
}

// FailureLog takes the lines. What the other side has only broken off is not worth a warning.
type FailureLog interface {
	Debugf(format string, args ...any)
	Warnf(format string, args ...any)
}

// failure is what is told once.
type failure struct{ host, reason string }

const (
	failurePeriod = 10 * time.Second
	failuresMax   = 256 // are remembered; beyond them they are only counted
)

// NewFailures makes one for a port, which is a word such as client. count is called for each failure.
func NewFailures(port string, log FailureLog, count func(reason string)) *Failures {
	return &Failures{port: port, log: log, count: count, told: map[failure]time.Time{}}
}

// Failed tells of the handshake of a connection.
func (f *Failures) Failed(conn net.Conn, err error) {
	reason, text := Explain(err)
	f.count(reason)
	remote := conn.RemoteAddr().String()
	host, _, splitErr := net.SplitHostPort(remote)
	if splitErr != nil {
		host = remote
	}
	missed, first := f.first(failure{host, reason}, time.Now())
	switch {
	case !first:
	case reason == Closed || reason == TimedOut:
		f.log.Debugf("TLS handshake with %s on the %s port failed: %s", remote, f.port, text)
	case missed > 0:
		f.log.Warnf("TLS handshake with %s on the %s port failed: %s; %d others, of too many hosts to tell of each, failed before", remote, f.port, text, missed)
	default:
		f.log.Warnf("TLS handshake with %s on the %s port failed: %s", remote, f.port, text)
	}
}

// first tells whether a failure is to be logged, and how many were not for want of room.
func (f *Failures) first(what failure, now time.Time) (missed int, first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at, known := f.told[what]; known && now.Sub(at) < failurePeriod {
		return 0, false
	}
	if len(f.told) >= failuresMax {
		for each, at := range f.told {
			if now.Sub(at) >= failurePeriod {
				delete(f.told, each)
			}
		}
	}
	if _, known := f.told[what]; !known && len(f.told) >= failuresMax {
		f.missed++
		return 0, false
	}
	f.told[what] = now
	missed, f.missed = f.missed, 0
	return missed, true
}
