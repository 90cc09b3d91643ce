package proxy

import (
	"context"
	"net/http"
	"sync"
	"time"

	"canopy/internal/httpserver/hijack"
	"canopy/internal/memory"
)

// A stream is a watch on a hijacked client connection. Its events come from a feed, which it founded or shares. While it
// waits, it has two goroutines with small stacks, and no buffer.
type stream struct {
	p      *Proxy
	client *hijack.Conn
	keeps  bool   // the client may reuse its connection when the answer is complete
	after  uint64 // events of a shared feed up to this index are not for it
	single bool   // it ends with its first event

	waiting chan struct{} // holds one signal: the fields below have changed
	mu      sync.Mutex    // guards them
	queue   []*event      // of a feed that is shared
	queued  int64         // bytes of them; the sum of len(frame)
	ended   bool          // no further event comes
	whole   bool          // the answer ends as a complete one
}

// A client may lag behind others that share its feed by defaultLag, or by queueBytesMin when the memory is used up.
const (
	defaultLag    = 16 << 20
	queueBytesMin = 64 << 10
)

var lastChunk = []byte("0\r\n\r\n") // read only

// startStream makes a stream of a watch; the client gets head before the chunks. If it is false, nothing has happened: HTTP/1.0
// has no chunks, and requests of HTTP/2 share a connection.
func (p *Proxy) startStream(w http.ResponseWriter, r *http.Request, x *exchange, s *resumer, head []byte) bool {
	ctx := context.Background()
	leave, err := p.watches.enter(&ctx)
	if err != nil {
		return false
	}
	client, taken := hijack.Take(w, r)
	if !taken {
		leave()
		return false
	}
	x.release() // the context of the request ends with the handler
	keeps := len(head) == 0 && !r.Close && w.Header().Get("Connection") == ""
	t := &stream{p: p, client: client, keeps: keeps, waiting: make(chan struct{}, 1)}
	f := newFeed(p, x, s, t)
	if s.pos != nil && !s.pos.ahead && x.answer.Header["Content-Encoding"] == nil {
		f.key, t.single = keyOf(r)
		t.after = s.pos.after
	}
	go func() { // watchSet.close waits for it
		defer leave()
		t.run(ctx, f, head)
	}()
	return true
}

// run serves the stream until one side ends it. If others share the feed that it founded, it goes on to serve that.
func (s *stream) run(ctx context.Context, own *feed, head []byte) {
	s.p.metrics.watches.Inc() // feed.remove undoes it
	s.client.Serve(ctx, func(ctx context.Context) {
		if len(head) > 0 && s.write(head) != nil {
			own.close()
			return
		}
		shared := s.p.feeds.enter(own, s)
		if shared == own {
			own.run(ctx)
			return
		}
		own.x.Discard()
		own = nil
		s.serve(ctx, shared)
	})
}

// serve sends the events of a shared feed, until that ends or the client leaves.
func (s *stream) serve(ctx context.Context, f *feed) {
	defer s.drop()
	defer f.leave(s)
	for {
		select {
		case <-s.waiting:
		case <-ctx.Done():
			return
		}
		stop := context.AfterFunc(ctx, func() { s.client.Close() }) // it may not read what is written
		ended, err := s.flush()
		stop()
		if ended || err != nil {
			return
		}
	}
}

// flush writes the queue.
func (s *stream) flush() (ended bool, err error) {
	for {
		s.mu.Lock()
		events, ended, whole := s.queue, s.ended, s.whole
		s.queue, s.queued = nil, 0
		s.mu.Unlock()
		if len(events) == 0 && whole {
			return true, s.finish()
		}
		if len(events) == 0 {
			return ended, nil
		}
		err := s.writeAll(events)
		s.p.feeds.written(events)
		if err != nil {
			return true, err
		}
	}
}

// drop drops the queue.
func (s *stream) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.p.feeds.written(s.queue)
	s.queue = nil
}

// writeAll writes events, small ones together.
func (s *stream) writeAll(events []*event) error {
	if len(events) == 1 {
		return s.write(events[0].frame)
	}
	buffer := s.p.buffer()
	defer s.p.release(buffer)
	b := (*buffer)[:0]
	for _, e := range events {
		if len(b)+len(e.frame) > cap(b) {
			if err := s.write(b); err != nil {
				return err
			}
			b = b[:0]
		}
		if len(e.frame) <= cap(b) {
			b = append(b, e.frame...)
		} else if err := s.write(e.frame); err != nil {
			return err
		}
	}
	return s.write(b)
}

// give adds an event to the queue. False: there is no room, since the client is too slow.
func (s *stream) give(e *event) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queued > s.p.o.lag || s.queued > queueBytesMin && s.p.o.Memory.Exhausted() {
		return false
	}
	if e.holders.Add(1) == 1 {
		s.p.feeds.memory.TakeAnyway(int64(len(e.frame)))
	}
	s.queued += int64(len(e.frame))
	s.queue = append(s.queue, e)
	s.signal()
	return true
}

// signal tells the goroutine of the stream that a field has changed.
func (s *stream) signal() {
	select {
	case s.waiting <- struct{}{}:
	default:
	}
}

// end ends the stream after its queue. Unless whole is set, the client sees a cut.
func (s *stream) end(whole bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.whole = true, whole
	s.signal()
}

// finish ends the answer with its last chunk.
func (s *stream) finish() error {
	err := s.write(lastChunk)
	if err == nil {
		s.finished()
	}
	return err
}

// finished is called when the answer is complete.
func (s *stream) finished() {
	if s.keeps {
		s.client.Return()
	}
}

func (s *stream) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	_ = s.client.SetWriteDeadline(time.Now().Add(clientTimeout))
	if len(b) > freeBytes {
		cut := func() { _ = s.client.SetWriteDeadline(time.Unix(1, 0)) }
		defer s.p.o.Memory.HoldAnyway(memory.Answer{Own: int64(len(b)), Cut: cut}).End()
	}
	_, err := s.client.Write(b)
	return err
}
