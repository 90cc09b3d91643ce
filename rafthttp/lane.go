package rafthttp

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// lane is the sending side of one of a peer's streams: it dials, writes the queue, and dials again.
type lane struct {
	peer   *peer
	kind   laneKind
	queue  *queue
	redial chan struct{} // holds one signal: dial at once

	// mu guards stream, for a few lines.
	mu     sync.Mutex
	stream *stream // nil: there is none
}

func newLane(p *peer, k laneKind, q *queue) *lane {
	return &lane{peer: p, kind: k, queue: q, redial: make(chan struct{}, 1)}
}

// put queues an item, or drops it and reports the loss; false if it was dropped.
func (l *lane) put(i item) bool {
	taken, first := l.queue.put(i)
	if !taken {
		l.peer.t.o.Observer.dropped(l.peer.id)
	}
	if first {
		l.peer.t.o.Owner.Lost(l.peer.id)
	}
	return taken
}

// dialNow ends the wait before the next attempt.
func (l *lane) dialNow() {
	select {
	case l.redial <- struct{}{}:
	default:
	}
}

// interrupt breaks the stream, if there is one.
func (l *lane) interrupt(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stream != nil {
		l.stream.fail(why)
	}
}

func (l *lane) hold(s *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stream = s
}

// run keeps a stream to the peer until ctx ends.
func (l *lane) run(ctx context.Context) {
	var wait backoff
	var preferred string
	for ctx.Err() == nil {
		to := *l.peer.target.Load()
		s, url, err := l.peer.t.dialStream(ctx, to, l.kind, preferred)
		if err == nil {
			wait, preferred = backoff{}, url
			err = l.serve(ctx, s, to.urls)
		}
		if ctx.Err() != nil {
			return
		}
		l.peer.disconnected(l.kind, err)
		wait.pause(ctx, l.redial)
	}
}

// serve writes to a stream until it breaks or ctx ends. urls are those that it was dialled with.
func (l *lane) serve(ctx context.Context, s *stream, urls []string) error {
	s.lane = l
	l.hold(s)
	if !slices.Equal(urls, l.peer.target.Load().urls) {
		s.fail(errMoved) // it changed during dialling
	}
	stop := context.AfterFunc(ctx, func() { s.fail(ctx.Err()) })
	var listener sync.WaitGroup
	listener.Go(s.listen)
	defer func() {
		stop()
		l.hold(nil)
		listener.Wait()
		l.queue.end()
		l.lost()
	}()
	log, title := l.peer.t.journal.log, l.peer.title()
	log.Debugf("the stream %s to %s began", l.kind, title)
	recovered := l.queue.begin()
	l.peer.connected(l.kind)
	if recovered {
		l.lost() // messages that were dropped without a stream can be sent again now
	}
	err := l.write(s)
	log.Debugf("the stream %s to %s ended: %v", l.kind, title, err)
	return err
}

func (l *lane) lost() { l.peer.t.o.Owner.Lost(l.peer.id) }

// write sends the queue, and pings.
func (l *lane) write(s *stream) error {
	tick := time.NewTicker(l.peer.t.pingEvery(l.kind))
	defer tick.Stop()
	s.ping()
	for {
		select {
		case <-s.broken:
			return s.cause()
		case <-l.queue.wake:
			s.send(l.queue)
		case <-tick.C:
			s.ping()
		}
	}
}

const (
	backoffMin = 100 * time.Millisecond
	backoffMax = time.Second
)

// backoff is the time before the next attempt; it grows with each one.
type backoff struct{ next time.Duration }

// pause waits, with jitter, so that members that have lost each other do not dial at the same times.
func (b *backoff) pause(ctx context.Context, now <-chan struct{}) {
	b.next = min(max(2*b.next, backoffMin), backoffMax)
	timer := time.NewTimer(b.next - b.next/4 + rand.N(b.next/2))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-now:
	case <-ctx.Done():
	}
}
