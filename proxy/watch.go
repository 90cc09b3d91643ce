package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

var errClosing = errors.New("proxy: it is shutting down")

// A watchSet ends all watches together.
type watchSet struct {
	ctx context.Context // of all watches
	end context.CancelFunc

	mu     sync.Mutex // guards closed and adding to open
	closed bool
	open   sync.WaitGroup
}

func (s *watchSet) init() { s.ctx, s.end = context.WithCancel(context.Background()) }

// enter adds a watch, and has its context end with the set. Whoever entered calls leave.
func (s *watchSet) enter(ctx *context.Context) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosing
	}
	s.open.Add(1)
	c, cancel := context.WithCancel(*ctx)
	unbind := context.AfterFunc(s.ctx, cancel)
	*ctx = c
	return func() {
		unbind()
		cancel()
		s.open.Done()
	}, nil
}

// close ends all watches, and waits for them.
func (s *watchSet) close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()
	gone := make(chan struct{})
	go func() { // ends when the watches have
		s.open.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A position is what a watch needs to be taken up by another member (P33).
type position struct {
	target []byte // of the request, to be asked for again
	tail   []byte // of its head: all that comes after the target
}

// positionOf makes sure that what is asked for again begins where the broken answer did: at the waitIndex of the
// client, or after the index that the first member began at. No position is given if there is neither.
func positionOf(q *request, answer *http.Response) *position {
	line, _, _ := bytes.Cut(q.head, []byte("\r\n"))
	target := line[len("GET ") : len(line)-len(" HTTP/1.1")]
	pos := &position{target: target, tail: q.head[len("GET ")+len(target):]}
	path, query, _ := bytes.Cut(target, []byte("?"))
	values, err := url.ParseQuery(string(query))
	if err != nil {
		return nil
	}
	if from, err := strconv.ParseUint(values.Get("waitIndex"), 10, 64); err == nil && from > 0 {
		return pos
	}
	index, err := strconv.ParseUint(answer.Header.Get("X-Etcd-Index"), 10, 64)
	if err != nil || index == 0 {
		return nil
	}
	pos.target = append(append([]byte(nil), path...), "?waitIndex="...)
	pos.target = strconv.AppendUint(pos.target, index+1, 10) // the first one counts (K10)
	pos.target = append(append(pos.target, '&'), query...)
	return pos
}

// again is the request at the position.
func (p *position) again() *request {
	head := make([]byte, 0, len("GET ")+len(p.target)+len(p.tail))
	head = append(append(append(head, "GET "...), p.target...), p.tail...)
	return &request{method: http.MethodGet, head: head, watch: true}
}

// A watch that breaks early this many times in a row is given up: members that keep no watch are no help to it.
const (
	earlyBreaksMax = 8
	earlyBreak     = time.Second
)

// A resumer takes a watch up on another member, as long as nothing was delivered.
type resumer struct {
	p     *Proxy
	pos   *position // nil: it cannot be done
	early int
	begun time.Time
}

var errNotResumed = errors.New("the watch cannot be taken up by another member")

// resume asks another endpoint than the one whose answer broke for the same.
func (s *resumer) resume(ctx context.Context, broken *endpoint) (*exchange, error) {
	if s.early++; time.Since(s.begun) > earlyBreak {
		s.early = 0
	}
	if s.pos == nil || s.early > earlyBreaksMax || ctx.Err() != nil {
		return nil, errNotResumed
	}
	s.begun = time.Now()
	q := s.pos.again()
	q.tried = append(q.tried, broken)
	for {
		x, err := s.p.send(ctx, nil, q)
		if err != nil {
			return nil, err
		}
		if x.answer.StatusCode == http.StatusOK {
			s.p.o.Log.Debugf("proxy: took up a watch of %s at %s", broken.url, x.endpoint.url)
			return x, nil
		}
		x.abort(nil)
		if x.answer.StatusCode != http.StatusServiceUnavailable {
			return nil, errNotResumed
		}
	}
}

// relayWatch passes on the answer to a watch: the head at once, so that the client knows that the watch is set (P30),
// and each event when it comes. If the member leaves before there was one, another member goes on; after that the
// client's connection is cut, because to it a whole answer would mean that nothing was missed (P32).
func (p *Proxy) relayWatch(ctx context.Context, w http.ResponseWriter, r *http.Request, q *request, x *exchange) {
	p.metrics.watches.Inc()
	defer p.metrics.watches.Dec()
	s := &resumer{p: p, pos: positionOf(q, x.answer), begun: time.Now()}
	p.copyHeader(w.Header(), x.answer.Header)
	if p.takeOver(w, r, x, s) {
		q.streams = true
		return
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // no time-out of a request ends a watch
	w.Header().Del("Content-Length")
	w.WriteHeader(http.StatusOK)
	if err := control.Flush(); err != nil {
		x.abort(w)
		return
	}
	for {
		delivered, err := p.copyEvents(w, x)
		if delivered && err == nil {
			x.done(w)
			return
		}
		x.abort(w)
		if !delivered && ctx.Err() == nil {
			if x, err = s.resume(ctx, x.endpoint); err == nil {
				continue
			}
		}
		panic(http.ErrAbortHandler)
	}
}

// copyEvents passes on what comes, until the answer ends. It tells whether there was anything.
func (p *Proxy) copyEvents(w http.ResponseWriter, x *exchange) (delivered bool, err error) {
	control := http.NewResponseController(w)
	for {
		if err := x.awaitInput(); err != nil {
			return delivered, err
		}
		n, err := p.copyEvent(w, x)
		delivered = delivered || n > 0
		if errors.Is(err, io.EOF) {
			return delivered, nil
		}
		if err == nil {
			err = control.Flush()
		}
		if err != nil {
			return delivered, err
		}
		x.expectBy(p.o.ReadTimeout)
	}
}

// copyEvent passes on one read.
func (p *Proxy) copyEvent(w http.ResponseWriter, x *exchange) (int, error) {
	buffer := p.buffer()
	defer p.release(buffer)
	n, err := x.answer.Body.Read(*buffer)
	if n == 0 {
		return 0, err
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(clientTimeout))
	if _, err := w.Write((*buffer)[:n]); err != nil {
		return n, err
	}
	return n, err
}
