package http1

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// lookEvery is how often a server looks for requests that take long: those that did so the last time, too, are ended if
// their client leaves. net/http listens to each client from the first moment, which costs more than most requests do.
const lookEvery = 250 * time.Millisecond

// presence finds out that the client has left while its request is being answered.
type presence struct {
	conn  net.Conn
	leave func() // called when the client has left

	// mu guards the fields below, for the length of one method but for the wait of end.
	mu        sync.Mutex
	busy      bool       // a request is being answered
	seen      bool       // it was when the server last looked
	listening chan heard // of the listener, if there is one
}

// heard is what a client did while it waited for its answer.
type heard struct {
	b    [1]byte // of the next request
	n    int     // 1 if there is one
	gone bool
}

func (p *presence) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy, p.seen = true, false
}

// look begins to listen to the client if its request takes long.
func (p *presence) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy && p.seen && p.listening == nil {
		p.listening = make(chan heard, 1)
		go p.listen(p.listening) // end waits for it
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
	p.busy = false
	listening := p.listening
	p.listening = nil
	p.mu.Unlock()
	if listening == nil {
		return heard{}
	}
	_ = p.conn.SetReadDeadline(time.Unix(1, 0)) // fails if the connection is closed, which ends the read as well
	return <-listening
}
