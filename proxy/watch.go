package proxy

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"canopy/internal/httpserver/hijack"
	"canopy/proxy/upstream"
)

var errClosing = errors.New("proxy: it is shutting down")

// A watchSet ends all watches together.
type watchSet struct {
	ctx context.Context // of all watches
	end context.CancelFunc
	n   atomic.Int64 // open watches

	mu     sync.Mutex // guards closed and adding to open
	closed bool
	open   sync.WaitGroup

	returned int64 // of the goroutine that probes: open watches when memory was returned last
}

// manyWatches is how many watches must come or go before their memory is returned to the system: opening a watch takes
// several times the memory of an open one, and open ones alone cause no collection.
const manyWatches = 256

// returnMemory returns memory to the system if many watches have come or gone since the last time.
func (s *watchSet) returnMemory() {
	if n := s.n.Load(); n > s.returned+manyWatches || n < s.returned-manyWatches {
		s.returned = n
		debug.FreeOSMemory()
	}
}

func (s *watchSet) init() { s.ctx, s.end = context.WithCancel(context.Background()) }

// enter adds a watch, and makes its context end with the set. Each enter needs a leave.
func (s *watchSet) enter(ctx *context.Context) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosing
	}
	s.open.Add(1)
	s.n.Add(1)
	c, cancel := context.WithCancel(*ctx)
	unbind := context.AfterFunc(s.ctx, cancel)
	*ctx = c
	return func() {
		unbind()
		cancel()
		s.n.Add(-1)
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

// A position is what another member needs to continue a watch (P33).
type position struct {
	target []byte // of the request
	tail   []byte // of its head: everything after the target
	after  uint64 // the watch has had all events up to this index
	ahead  bool   // the member had not reached it when it answered
}

// positionOf tells where a watch begins: at the waitIndex of the client, or after the index of the member's answer. It is nil
// if there is neither.
func positionOf(q *request, answer *http.Response) *position {
	line, _, _ := bytes.Cut(q.head, []byte("\r\n"))
	target := line[len("GET ") : len(line)-len(" HTTP/1.1")]
	pos := &position{target: target, tail: q.head[len("GET ")+len(target):]}
	_, query, _ := bytes.Cut(target, []byte("?"))
	values, err := url.ParseQuery(string(query))
	if err != nil {
		return nil
	}
	index, err := strconv.ParseUint(answer.Header.Get("X-Etcd-Index"), 10, 64)
	if from, err := strconv.ParseUint(values.Get("waitIndex"), 10, 64); err == nil && from > 0 {
		pos.after, pos.ahead = from-1, from-1 > index
		return pos
	}
	if err != nil || index == 0 {
		return nil
	}
	pos.after = index
	return pos
}

// again requests all events after the position.
func (p *position) again() *request {
	path, query, _ := bytes.Cut(p.target, []byte("?"))
	head := make([]byte, 0, len("GET ?waitIndex=&")+20+len(p.target)+len(p.tail))
	head = append(append(append(head, "GET "...), path...), "?waitIndex="...) // the first one counts (K10)
	head = append(strconv.AppendUint(head, p.after+1, 10), '&')
	head = append(append(head, query...), p.tail...)
	return &request{method: http.MethodGet, head: head, watch: true}
}

// A watch that breaks early this many times in a row is cut: the members do not keep watches.
const (
	earlyBreaksMax = 8
	earlyBreak     = time.Second
)

// A resumer continues a watch at another member, as long as nothing was delivered.
type resumer struct {
	p     *Proxy
	pos   *position // nil: it cannot continue
	early int
	begun time.Time
}

var errNotResumed = errors.New("no other member can continue the watch")

// resume asks an endpoint other than the one whose answer broke for the same; nil: any.
func (s *resumer) resume(ctx context.Context, broken *upstream.Endpoint) (*exchange, error) {
	if s.early++; time.Since(s.begun) > earlyBreak {
		s.early = 0
	}
	if s.pos == nil || s.early > earlyBreaksMax || ctx.Err() != nil {
		return nil, errNotResumed
	}
	s.begun = time.Now()
	q := s.pos.again()
	if broken != nil {
		q.tried = append(q.tried, broken)
	}
	for {
		x, err := s.p.send(ctx, nil, q)
		if err != nil {
			return nil, err
		}
		if x.answer.StatusCode == http.StatusOK && isChunked(x.answer) {
			s.p.o.Log.Debugf("proxy: continued a watch at %s", x.endpoint.URL)
			return x, nil
		}
		x.abort(nil)
		if x.answer.StatusCode < http.StatusInternalServerError { // else it may be about to stop
			s.p.o.Log.Debugf("proxy: %s does not continue a watch from index %d: status %d", x.endpoint.URL, s.pos.after+1, x.answer.StatusCode)
			return nil, errNotResumed
		}
	}
}

// relayWatch sends the answer of a watch on: the head at once, so that the client knows that the watch is set (P30), and each
// event when it comes. If the member leaves before the first event, another one continues; after that the client's
// connection is cut, because a complete answer would mean that no event was missed (P32).
func (p *Proxy) relayWatch(ctx context.Context, w http.ResponseWriter, r *http.Request, q *request, x *exchange) {
	p.metrics.watches.Inc() // while this function has the watch
	defer p.metrics.watches.Dec()
	s := &resumer{p: p, pos: positionOf(q, x.answer), begun: time.Now()}
	p.copyHeader(w.Header(), x.answer.Header)
	if isTrue(r.URL.Query(), "stream") && p.startStream(w, r, x, s, hijack.Head(w.Header().Clone(), false)) {
		q.streams = true
		return
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // no time-out of a request ends a watch
	w.WriteHeader(http.StatusOK)
	if err := control.Flush(); err != nil {
		x.abort(w)
		return
	}
	x.Detach()
	if x.IsQuietFor(p.o.longWait) && p.startStream(w, r, x, s, nil) {
		q.streams = true
		return
	}
	p.passEvents(ctx, w, x, s)
}

// defaultLongWait is how long a watch has no event until it counts as one that waits for long. Then hijacking, and a new
// connection for the client's next request, cost less than its buffers and its stack would.
const defaultLongWait = time.Second

// passEvents sends events on through net/http.
func (p *Proxy) passEvents(ctx context.Context, w http.ResponseWriter, x *exchange, s *resumer) {
	control := http.NewResponseController(w)
	for {
		var chunks chunkScanner
		err := p.passChunks(x, &chunks, func(b []byte) error {
			_ = control.SetWriteDeadline(time.Now().Add(clientTimeout))
			if len(b) > freeBytes {
				defer p.newWriterAnyway(w, int64(len(b))).end()
			}
			if err := chunks.scan(b, func(data []byte) error { _, err := w.Write(data); return err }); err != nil {
				return err
			}
			return control.Flush()
		})
		if err == nil && chunks.payload {
			x.done(w)
			return
		}
		x.abort(w)
		if !chunks.payload && ctx.Err() == nil {
			if x, err = s.resume(ctx, x.endpoint); err == nil {
				continue
			}
		}
		panic(http.ErrAbortHandler)
	}
}

// isChunked tells whether an answer has chunks, like that of a watch.
func isChunked(answer *http.Response) bool {
	return len(answer.TransferEncoding) == 1 && answer.TransferEncoding[0] == "chunked"
}

// passChunks scans a chunked answer and gives its bytes to a function, until the last chunk. While it waits, the connection
// holds no buffer.
func (p *Proxy) passChunks(x *exchange, chunks *chunkScanner, pass func([]byte) error) error {
	x.Detach()
	var err error
	if held := x.TakeHeld(); len(held) > 0 {
		err = pass(held)
	}
	for err == nil && !chunks.ended {
		x.ExpectBy(p.o.ReadTimeout)
		if err = x.AwaitInput(); err == nil {
			err = p.passRead(x, pass)
		}
	}
	return err
}

// passRead is one read.
func (p *Proxy) passRead(x *exchange, pass func([]byte) error) error {
	buffer := p.buffer()
	defer p.release(buffer)
	n, err := x.Read(*buffer)
	if err != nil {
		return err
	}
	return pass((*buffer)[:n])
}
