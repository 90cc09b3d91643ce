package proxy

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// A feed is what a member sends to a watch. Other watches of the same may share it while it waits for its first event
// (P41). Each has been answered by a member first, so that it has headers of its own, and an index: it has had all
// events up to that. It may share a feed by which all later ones are still to come, and is given none that are not
// later. So it gets what it would have got alone, whatever was on its way when it joined.
//
// As long as a feed has one watch, what comes is passed on as it is, and the member waits for the client. After that
// it is taken apart into events, each of which is framed once, and put in the queues of all. As it is known then which
// event was the last, another member can go on even if there were some.
type feed struct {
	p       *Proxy
	key     string  // what it is a feed of; "": it is not to be shared
	founder *stream // whose goroutine runs it
	resumer *resumer

	// Of the goroutine that runs it.
	x       *exchange
	chunks  chunkScanner
	held    []byte         // frames that are not passed on before the first event
	line    []byte         // the beginning of an event
	taken   int64          // of the budget of memory, for a long line
	events  []*event       // that were found, and not given to anybody yet
	serving sync.WaitGroup // the founder, once the feed is shared
	served  bool

	mu       sync.Mutex // guards what follows, and the end of streams
	endpoint *endpoint  // of x
	streams  []*stream
	after    uint64 // all events with a greater index are still to come
	shared   bool   // there was a second stream
	busy     bool   // it is not the moment to join
	over     bool   // nobody is left, and nobody can join any more
	stop     func() // ends what the goroutine waits for
}

func newFeed(p *Proxy, x *exchange, s *resumer, founder *stream) *feed {
	f := &feed{p: p, founder: founder, resumer: s, x: x, endpoint: x.endpoint, streams: []*stream{founder}, stop: x.interrupt}
	if s.pos != nil {
		f.after = s.pos.after
	}
	return f
}

// join adds a stream that the endpoint has just answered, if it can be without a gap and without delay.
func (f *feed) join(s *stream, answered *endpoint) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over || f.busy || s.after < f.after || f.endpoint != answered || answered.resting.Load() != nil {
		return false
	}
	f.shared = true
	f.streams = append(f.streams, s)
	return true
}

// leave takes a stream away. With the last one the feed ends.
func (f *feed) leave(s *stream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remove(s)
}

// remove takes a stream away; mu is held.
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

// run feeds all streams until there is none left, or it breaks; ctx is that of the founder.
func (f *feed) run(ctx context.Context) {
	defer context.AfterFunc(ctx, func() {
		f.leave(f.founder)
		f.founder.client.Close() // which its goroutine may not do for long
	})()
	f.pass(ctx)
	f.giveLine()
	f.close()
	f.serving.Wait()
}

// close ends all streams that are left: they are cut.
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

// pass passes events on until nobody is left, or the feed breaks and cannot be taken up elsewhere.
func (f *feed) pass(ctx context.Context) {
	for {
		err := f.passFrom(ctx)
		if err == nil && f.chunks.payload && !f.served { // what was passed on is a whole answer
			f.founder.finished()
		}
		if errors.Is(err, errNoEvent) || errors.Is(err, errEventSize) || errors.Is(err, errMemory) || !f.resume(err == nil) {
			return
		}
	}
}

// resume has a member go on after what came last, if that is known. A watch for one event that had it, so that the
// answer is whole, may go on at the same member, for those that wait for a later one.
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
	f.endpoint, f.busy, f.stop = next.endpoint, false, next.interrupt
	return !f.over
}

// passFrom passes on what one member sends.
func (f *feed) passFrom(ctx context.Context) error {
	f.x.answer = nil // nobody needs it any more
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

// passOn gives the only stream what has come, after a look at its frames. Before the first event it is held back: an
// end without one is not passed on.
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
