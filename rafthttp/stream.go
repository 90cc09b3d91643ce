package rafthttp

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"canopy/rafthttp/wire"
)

const (
	batchBytes   = 256 << 10 // written at once, but for the last message
	writeBytes   = 128 << 10 // must be written within the time-out of a write
	bufferKept   = 4 << 20   // memory of the write buffer
	bufferIdle   = 64 << 10  // the same, while nothing is written
	logStall     = 15 * time.Second
	logPatience  = 30 * time.Second // a follower whose disk is slow does not answer, and is not dead
	logPingEvery = time.Second
)

// pingEvery is the time between pings.
func (t *Transport) pingEvery(l laneKind) time.Duration {
	if l == controlLane {
		return t.o.Heartbeat
	}
	return max(t.o.Heartbeat, logPingEvery)
}

// patience is how long a peer may be silent before its stream is closed. The control lane detects a dead peer before followers
// would begin an election (R42).
func (t *Transport) patience(l laneKind) time.Duration {
	if l == controlLane {
		return max(t.o.Election-2*t.o.Heartbeat, t.o.Election/2)
	}
	return max(logPatience, t.o.Election)
}

// stall is how long a write of writeBytes may take.
func (t *Transport) stall(l laneKind) time.Duration {
	if l == controlLane {
		return t.patience(l)
	}
	return max(logStall, t.o.Election)
}

// stream is a connection that this member has dialled. One goroutine writes, and another one reads pongs.
type stream struct {
	lane   *lane
	conn   net.Conn
	frames wire.Reader
	began  time.Time     // pings count from here
	broken chan struct{} // closed by the first failure

	// The goroutine that writes uses these.
	buf     []byte
	spare   []item
	encoder wire.Encoder
	busy    bool // something was sent since the last ping

	// mu guards err, for a few lines.
	mu  sync.Mutex
	err error // the first failure
}

func newStream(conn net.Conn, frames wire.Reader) *stream {
	return &stream{conn: conn, frames: frames, began: time.Now(), broken: make(chan struct{})}
}

// fail closes the stream. The first reason is kept.
func (s *stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	s.err = err
	close(s.broken)
	closeNow(s.conn)
}

func (s *stream) cause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// send writes the queue.
func (s *stream) send(q *queue) {
	items := q.take(s.spare)
	s.spare, s.busy = items, true
	defer clear(items)
	count, bytes := 0, int64(0)
	for i := range items {
		s.encode(&items[i])
		count++
		bytes += items[i].size
		if len(s.buf) < batchBytes && i < len(items)-1 {
			continue
		}
		if !s.flush() {
			return
		}
		if q.written(count, bytes) {
			s.lane.lost()
		}
		count, bytes = 0, 0
	}
}

// encode adds an item to the next write.
func (s *stream) encode(i *item) {
	if i.message == nil {
		s.buf = wire.AppendEnvelope(s.buf, i.envelope)
		return
	}
	b, ok := s.encoder.Append(s.buf, i.message)
	if !ok { // not reported as a loss: raft would send it again at once
		p := s.lane.peer
		p.t.journal.warn(subject{p.id, "unsendable"}, "a message %T to %x is too big to be sent", i.message, uint64(p.id))
		p.t.o.Observer.dropped(p.id)
		b = b[:len(s.buf)]
	}
	s.buf = b
}

// ping sends a ping, and frees unused memory.
func (s *stream) ping() {
	if !s.busy && cap(s.buf) > bufferIdle {
		s.buf, s.spare = nil, nil
	}
	s.busy = false
	s.buf = wire.AppendPing(s.buf, wire.KindPing, uint64(time.Since(s.began)))
	s.flush()
}

// flush writes what was encoded. False: the stream is broken.
func (s *stream) flush() bool {
	p := s.lane.peer
	stall := p.t.stall(s.lane.kind)
	for rest := s.buf; len(rest) > 0; {
		n := min(len(rest), writeBytes)
		err := s.conn.SetWriteDeadline(time.Now().Add(stall))
		if err == nil {
			_, err = s.conn.Write(rest[:n])
		}
		if err != nil {
			s.fail(silence(err, stall))
			return false
		}
		rest = rest[n:]
	}
	p.t.o.Observer.sent(p.id, len(s.buf))
	if s.buf = s.buf[:0]; cap(s.buf) > bufferKept {
		s.buf = nil
	}
	return true
}

// listen reads pongs until the stream breaks.
func (s *stream) listen() {
	p := s.lane.peer
	patience := p.t.patience(s.lane.kind)
	for {
		err := s.conn.SetReadDeadline(time.Now().Add(patience))
		if err == nil {
			err = s.pong()
		}
		if err == nil {
			continue
		}
		s.fail(silence(err, patience))
		if s.lane.kind == controlLane && errors.Is(err, os.ErrDeadlineExceeded) {
			// Without this, a connection to a vanished peer would delay the log until TCP gives up.
			p.lanes[logLane].interrupt(s.cause())
		}
		return
	}
}

func (s *stream) pong() error {
	k, payload, err := s.frames.Next()
	if err != nil {
		return err
	}
	if k != wire.KindPong {
		return &wire.Malformed{What: "a frame that answers no ping"}
	}
	sent, err := wire.PingNumber(payload)
	if err != nil {
		return err
	}
	p := s.lane.peer
	now := time.Now()
	p.recordHeard(now)
	if trip := now.Sub(s.began) - time.Duration(sent); s.lane.kind == controlLane && trip >= 0 && trip < time.Hour {
		p.recordRoundTrip(trip)
	}
	return nil
}

// silence gives the cause of a time-out.
func silence(err error, waited time.Duration) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no data received or sent for %v: %w", waited, err)
	}
	return err
}
