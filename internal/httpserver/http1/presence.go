package http1

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// lookEvery is how often a server looks at its connections: for requests that take long, which are ended if their
// client leaves, and for clients that send none for too long. net/http listens to each client, and sets a deadline for
// it, with each request; that costs more than most requests do.
const lookEvery = 250 * time.Millisecond

// presence finds out that the client has left while its request is being answered, or has nothing more to ask.
type presence struct {
	conn  net.Conn
	leave func() // called when the client has left

	// mu guards the fields below, and the read deadline while requests are served here, for the length of one method
	// but for the wait of end.
	mu        sync.Mutex
	over      bool          // requests are not served here any more
	busy      bool          // a request is being answered
	seen      bool          // the server has looked since busy changed
	listening chan heard    // of the listener, if there is one
	patience  time.Duration // with a client that sends nothing; 0: no end
	idleSince time.Time     // when the server saw it idle first
	ended     bool          // patience is; the deadline has passed
}

// heard is what a client did while it waited for its answer.
type heard struct {
	b    [1]byte // of the next request
	n    int     // 1 if there is one
	gone bool
}

// begin is called when there is a request; patience is for the next one.
func (p *presence) begin(patience time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy, p.seen, p.patience = true, false, patience
	if p.ended { // at the same moment
		p.ended = false
		_ = p.conn.SetReadDeadline(time.Time{}) // fails if the connection is closed, which the next read will find out
	}
}

// look begins to listen to the client if its request takes long, and ends the wait for one that does not come.
func (p *presence) look(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.over:
	case p.busy && p.seen && p.listening == nil:
		p.listening = make(chan heard, 1)
		go p.listen(p.listening) // end waits for it
	case !p.busy && !p.seen:
		p.idleSince = now
	case !p.busy && p.patience > 0 && now.Sub(p.idleSince) >= p.patience:
		p.ended = true
		_ = p.conn.SetReadDeadline(time.Unix(1, 0)) // fails if the connection is closed, which ends the read as well
	}
	p.seen = true
}

func (p *presence) listen(to chan<- heard) {
	var h heard
	var err error
	h.n, err = p.conn.Read(h.b[:])
	if h.gone = err != nil && !errors.Is(err, os.ErrDeadlineExceeded); h.gone {
		p.leave()
	}
	to <- h
}

// end stops listening, and tells what was heard.
func (p *presence) end() heard {
	p.mu.Lock()
	p.busy, p.seen = false, false
	listening := p.listening
	p.listening = nil
	p.mu.Unlock()
	if listening == nil {
		return heard{}
	}
	_ = p.conn.SetReadDeadline(time.Unix(1, 0)) // fails if the connection is closed, which ends the read as well
	h := <-listening
	_ = p.conn.SetReadDeadline(time.Time{})
	return h
}

// stop is called when others serve the connection.
func (p *presence) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
}
