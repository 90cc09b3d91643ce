package http1

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// checkEvery is how often a server checks its connections: for requests that take long, whose context ends if the client
// leaves, and for clients that send no request for too long. net/http reads from each client, and sets a deadline for it,
// with each request; that costs more than most requests do.
const checkEvery = 250 * time.Millisecond

// monitor is a connection monitor: it finds out that a client has left while its request is being answered, or has been
// idle for too long.
type monitor struct {
	conn  net.Conn
	leave func() // called when the client has left

	// mu guards the fields below, and the read deadline while http1 serves the connection, for the length of one method
	// but for the wait of end.
	mu          sync.Mutex
	stopped     bool          // http1 does not serve the connection any more
	busy        bool          // a request is being answered
	checked     bool          // check was called since busy changed
	reading     chan received // of the goroutine that reads, if there is one
	idleTimeout time.Duration // 0: none
	idleSince   time.Time     // when check found it idle first
	timedOut    bool          // idleTimeout is over; the deadline has passed
}

// received is what a client did while it waited for its answer.
type received struct {
	b    [1]byte // of the next request
	n    int     // 1 if there is one
	gone bool
}

// await is called when the first request may take so long, 0 for no limit.
func (m *monitor) await(idleTimeout time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.checked, m.idleTimeout = false, idleTimeout
}

// begin is called when there is a request; idleTimeout is for the next one.
func (m *monitor) begin(idleTimeout time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy, m.checked, m.idleTimeout = true, false, idleTimeout
	if m.timedOut { // at the same moment
		m.timedOut = false
		_ = m.conn.SetReadDeadline(time.Time{}) // fails if the connection is closed, and then the next read fails too
	}
}

// check starts to read from the client if its request takes long, and ends the wait of a connection that is idle for too
// long.
func (m *monitor) check(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.stopped:
	case m.busy && m.checked && m.reading == nil:
		m.reading = make(chan received, 1)
		go m.read(m.reading) // end waits for it
	case !m.busy && !m.checked:
		m.idleSince = now
	case !m.busy && m.idleTimeout > 0 && now.Sub(m.idleSince) >= m.idleTimeout:
		m.timedOut = true
		_ = m.conn.SetReadDeadline(time.Unix(1, 0)) // fails if the connection is closed, which ends the read as well
	}
	m.checked = true
}

func (m *monitor) read(to chan<- received) {
	var got received
	var err error
	got.n, err = m.conn.Read(got.b[:])
	if got.gone = err != nil && !errors.Is(err, os.ErrDeadlineExceeded); got.gone {
		m.leave()
	}
	to <- got
}

// end stops reading, and gives what was received.
func (m *monitor) end() received {
	m.mu.Lock()
	m.busy, m.checked = false, false
	reading := m.reading
	m.reading = nil
	m.mu.Unlock()
	if reading == nil {
		return received{}
	}
	_ = m.conn.SetReadDeadline(time.Unix(1, 0)) // fails if the connection is closed, which ends the read as well
	got := <-reading
	_ = m.conn.SetReadDeadline(time.Time{})
	return got
}

// stop is called when http1 gives the connection away.
func (m *monitor) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped = true
}
