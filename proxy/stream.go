package proxy

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"time"

	"canopy/internal/takeover"
)

// A stream is a watch on a client's connection that was taken over from net/http. The chunks of the member
// are passed on as they are, after a look at their frames. While it waits, it has two goroutines with small stacks,
// and no buffer.
type stream struct {
	p       *Proxy
	client  net.Conn
	x       *exchange
	resumer *resumer
	chunks  chunkScanner
	held    []byte // what is not passed on before the first event
}

// isStream tells whether a watch is for many events.
func isStream(r *http.Request) bool {
	wanted, err := strconv.ParseBool(r.URL.Query().Get("stream"))
	return err == nil && wanted
}

// takeOver makes a stream of a watch; head is what the client still has to get before the chunks. If it tells that it
// cannot, nothing has happened: HTTP/1.0 knows no chunks, and HTTP/2 shares its connections.
func (p *Proxy) takeOver(w http.ResponseWriter, r *http.Request, x *exchange, s *resumer, head []byte) bool {
	ctx := context.Background()
	leave, err := p.watches.enter(&ctx)
	if err != nil {
		return false
	}
	client, taken := takeover.Take(w, r)
	if !taken {
		leave()
		return false
	}
	x.release() // the context of the request ends with the handler
	t := &stream{p: p, client: client, x: x, resumer: s}
	go func() { // watchSet.close waits for it
		defer leave()
		t.run(ctx, head)
	}()
	return true
}

// run serves the stream until either side ends it.
func (s *stream) run(ctx context.Context, head []byte) {
	s.p.metrics.watches.Inc()
	defer s.p.metrics.watches.Dec()
	takeover.Serve(ctx, s.client, func(ctx context.Context) {
		if len(head) == 0 || s.write(head) == nil {
			s.pass(ctx)
		}
		s.x.Close()
	})
}

// pass passes events on until the stream ends, or breaks after there was one.
func (s *stream) pass(ctx context.Context) {
	for {
		err := s.passFrom(ctx)
		if err != nil && s.chunks.payload || ctx.Err() != nil || s.chunks.ended && s.chunks.payload {
			return
		}
		s.x.Close()
		next, err := s.resumer.resume(ctx, s.x.endpoint)
		if err != nil {
			return
		}
		next.release()
		s.x, s.chunks, s.held = next, chunkScanner{}, nil
	}
}

// passFrom passes on what one member sends.
func (s *stream) passFrom(ctx context.Context) error {
	defer context.AfterFunc(ctx, s.x.interrupt)()
	s.x.answer = nil // nobody needs it any more
	return s.p.passChunks(s.x, &s.chunks, s.passOn)
}

// passOn looks at the frames of what has come, and writes it to the client. Before the first event it is held back: an
// end without one is not passed on.
func (s *stream) passOn(b []byte) error {
	before := s.chunks.payload
	if err := s.chunks.scan(b, nil); err != nil {
		return err
	}
	switch {
	case before:
		return s.write(b)
	case s.chunks.payload:
		b, s.held = append(s.held, b...), nil
		return s.write(b)
	}
	s.held = append(s.held, b...)
	return nil
}

func (s *stream) write(b []byte) error {
	_ = s.client.SetWriteDeadline(time.Now().Add(clientTimeout))
	_, err := s.client.Write(b)
	return err
}
