package proxy

import (
	"context"
	"errors"
	"slices"
	"sync"

	"canopy/proxy/upstream"
)

// A feed is the stream of a member for a watch. Other watches of the same key may share it while it waits for its first
// event (P41). A member has answered each of them before, so each has its own headers and an index: it has had all events up
// to that index. It may share a feed on which all later events are still to come, and gets only later ones. So it gets the
// same events as alone, whatever was being sent when it joined.
//
// While a feed has one watch, its bytes are sent on unchanged, and the member waits for the client. With a second watch it
// is split into events; each is framed once, and put into the queues of all watches. Since the last event is then known,
// another member can continue the feed even after events.
type feed struct {
	p       *Proxy
	key     string  // names the events; "": it is not shared
	founder *stream // whose goroutine runs it
	resumer *resumer

	// The goroutine that runs it uses these.
	x       *exchange
	chunks  chunkScanner
	held    []byte         // frames before the first event, not sent on yet
	line    []byte         // the beginning of an event
	taken   int64          // of the budget of memory, for a long line
	events  []*event       // found, and not delivered yet
	serving sync.WaitGroup // the founder, once the feed is shared
	served  bool

	mu       sync.Mutex         // guards what follows, and the end of streams
	endpoint *upstream.Endpoint // that answers x
	streams  []*stream
	after    uint64 // all events with a greater index are still to come
	shared   bool   // there was a second stream
	busy     bool   // nobody may join at this moment
	over     bool   // it has no stream, and nobody can join any more
	stop     func() // ends the wait of the goroutine
}

func newFeed(p *Proxy, x *exchange, s *resumer, founder *stream) *feed {
	f := &feed{p: p, founder: founder, resumer: s, x: x, endpoint: x.endpoint, streams: []*stream{founder}, stop: x.Interrupt}
	if s.pos != nil {
		f.after = s.pos.after
	}
	return f
}

// join adds a stream that the endpoint has just answered, if it causes neither a gap nor a delay.
func (f *feed) join(s *stream, answered *upstream.Endpoint) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over || f.busy || s.after < f.after || f.endpoint != answered || !answered.IsAvailable() {
		return false
	}
	f.shared = true
	f.streams = append(f.streams, s)
	return true
}

// leave removes a stream. The feed ends with the last one.
func (f *feed) leave(s *stream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remove(s)
}

// remove removes a stream; mu is held.
func (f *feed) remove(s *stream) {
	n := slices.Index(f.streams, s)
	if n < 0 {
		return
	}
	f.streams = slices.Delete(f.streams, n, n+1)
	f.p.metrics.watches.Dec()
	if len(f.streams) == 0 {
		f.over = true
		f.stop()
	}
}

// run feeds all streams until none is left, or it breaks; ctx is that of the founder.
func (f *feed) run(ctx context.Context) {
	defer context.AfterFunc(ctx, func() {
		f.leave(f.founder)
		f.founder.client.Close() // its own goroutine may be late
	})()
	f.pass(ctx)
	f.giveLine()
	f.close()
	f.serving.Wait()
}

// close cuts all streams that are left.
func (f *feed) close() {
	f.p.feeds.remove(f)
	f.mu.Lock()
	f.over = true
	for len(f.streams) > 0 {
		s := f.streams[0]
		f.remove(s)
		s.end(false)
	}
	f.mu.Unlock()
	f.x.Close()
}

// pass delivers events until no stream is left, or the feed breaks and nobody can continue it.
func (f *feed) pass(ctx context.Context) {
	for {
		err := f.passFrom(ctx)
		if err == nil && f.chunks.payload && !f.served { // what was sent on is a complete answer
			f.founder.finished()
		}
		if errors.Is(err, errNoEvent) || errors.Is(err, errEventSize) || errors.Is(err, errMemory) || !f.resume(err == nil) {
			return
		}
	}
}

// resume makes a member continue after the last event, if that is known. A watch for one event that had its event, and so
// is complete, may continue at the same member, for the streams that wait for a later one.
func (f *feed) resume(whole bool) bool {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	f.mu.Lock()
	over, unknown := f.over, f.chunks.payload && !f.shared
	f.busy, f.stop = true, cancel
	if f.resumer.pos != nil {
		f.resumer.pos.after = f.after
	}
	f.mu.Unlock()
	if over || unknown {
		return false
	}
	f.x.Close()
	broken := f.x.endpoint
	if whole && f.chunks.payload && f.founder.single {
		broken = nil
	}
	next, err := f.resumer.resume(ctx, broken)
	if err != nil {
		return false
	}
	next.release()
	f.x, f.chunks, f.held, f.line = next, chunkScanner{}, nil, nil
	f.giveLine()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.endpoint, f.busy, f.stop = next.endpoint, false, next.Interrupt
	return !f.over
}

// passFrom delivers what one member sends.
func (f *feed) passFrom(ctx context.Context) error {
	f.x.answer = nil // not needed any more
	return f.p.passChunks(f.x, &f.chunks, func(b []byte) error {
		f.mu.Lock()
		shared := f.shared
		f.busy = !shared
		f.mu.Unlock()
		if shared {
			return f.share(ctx, b)
		}
		return f.passOn(b)
	})
}

// passOn sends bytes to the only stream, after scanning their frames. Before the first event it holds them back: an end
// without an event is not sent on.
func (f *feed) passOn(b []byte) error {
	before := f.chunks.payload
	if err := f.chunks.scan(b, nil); err != nil {
		return err
	}
	if !f.chunks.payload {
		f.held = append(f.held, b...)
		f.mu.Lock()
		f.busy = false
		f.mu.Unlock()
		return nil
	}
	if !before { // and it stays busy
		f.p.feeds.remove(f)
		b, f.held = append(f.held, b...), nil
	}
	return f.founder.write(b)
}
