package rafthttp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"canopy/raft"
	"canopy/rafthttp/wire"
)

const (
	snapshotStall     = 10 * time.Second // without a byte in either direction
	snapshotAlive     = 2 * time.Second  // between informational answers while a received snapshot is being stored
	snapshotChunk     = 64 << 10
	snapshotsReceived = 2 // at once, from different peers
)

// SendSnapshot sends the message with the body, size bytes of it, on a connection of its own. It returns nil when the other side
// has stored the body and stepped the message. After an error, of the body, the network or the other side, the caller may try
// again from the start.
func (t *Transport) SendSnapshot(ctx context.Context, to raft.MemberID, m raft.Snapshot, body io.Reader, size int64) error {
	p := t.peer(to)
	if p == nil {
		return fmt.Errorf("rafthttp: send a snapshot to %x: it is no peer", uint64(to))
	}
	began := time.Now()
	p.snapshotSent.Store(0)
	p.snapshotSize.Store(size)
	err := t.sendSnapshot(ctx, p, m, body, size)
	p.snapshotSize.Store(0)
	t.o.Observer.snapshotSent(to, p.snapshotSent.Load(), time.Since(began), err)
	if err != nil {
		return fmt.Errorf("rafthttp: send a snapshot to %x: %w", uint64(to), err)
	}
	return nil
}

func (t *Transport) sendSnapshot(ctx context.Context, p *peer, m raft.Snapshot, body io.Reader, size int64) error {
	to := *p.target.Load()
	var out *outgoing
	_, err := t.reach(ctx, to.urls, "", func(conn net.Conn, host string) error {
		out = newOutgoing(p, conn)
		return out.announce(ctx, host, to, m, size)
	})
	if err != nil {
		return err
	}
	defer closeNow(out.conn)
	stop := context.AfterFunc(ctx, func() { closeNow(out.conn) })
	defer stop()
	if out.taken {
		return nil
	}
	err = out.copy(ctx, body, size)
	if err == nil || errors.As(err, new(*peerError)) {
		if answered := out.finish(); answered != nil || err == nil {
			err = answered // tells more than that the connection broke
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// outgoing is a snapshot that is being sent.
type outgoing struct {
	p       *peer
	conn    net.Conn
	limit   *io.LimitedReader // of the next answer
	answers *bufio.Reader
	taken   bool // without the body: the other side does not need it
}

func newOutgoing(p *peer, conn net.Conn) *outgoing {
	limit := &io.LimitedReader{R: conn}
	return &outgoing{p: p, conn: conn, limit: limit, answers: bufio.NewReader(limit)}
}

// answer reads the next answer, informational or final.
func (o *outgoing) answer() (*http.Response, error) {
	o.limit.N = answerBytesMax
	return http.ReadResponse(o.answers, &http.Request{Method: http.MethodPost})
}

// peerError is an error of the connection, not of the body.
type peerError struct{ error }

// Unwrap gives the cause.
func (e *peerError) Unwrap() error { return e.error }

// announce sends the head, and waits for "100 Continue".
func (o *outgoing) announce(ctx context.Context, host string, to target, m raft.Snapshot, size int64) error {
	stop := context.AfterFunc(ctx, func() { closeNow(o.conn) })
	defer stop()
	t := o.p.t
	if err := o.conn.SetDeadline(time.Now().Add(t.dialTimeout())); err != nil {
		return err
	}
	message, ok := wire.EncodeSnapshot(m)
	if !ok {
		return errors.New("its message is too big")
	}
	header := t.requestHeader(to)
	header.Set(wire.HeaderSnapshot, message)
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Content-Length", strconv.FormatInt(size, 10))
	header.Set("Expect", "100-continue")
	if err := writeRequest(o.conn, "POST", snapshotPath, host, header); err != nil {
		return lastWords(o.conn, err)
	}
	answer, err := o.answer()
	switch {
	case err != nil:
		return fmt.Errorf("no answer to the handshake: %w", err)
	case answer.StatusCode == http.StatusContinue:
		return nil
	case answer.StatusCode == http.StatusNoContent:
		o.taken = true
		return nil
	}
	return t.refusedBy(to, answer)
}

// copy sends the body, at the permitted rate.
func (o *outgoing) copy(ctx context.Context, body io.Reader, size int64) error {
	chunk := make([]byte, snapshotChunk)
	rate := o.p.t.o.SnapshotRate
	if rate > 0 {
		chunk = chunk[:max(1, min(snapshotChunk, rate/4))]
	}
	began := time.Now()
	for sent := int64(0); sent < size; {
		n, err := io.ReadFull(body, chunk[:min(int64(len(chunk)), size-sent)])
		if err != nil {
			return fmt.Errorf("read it: %w", err)
		}
		if err := o.conn.SetWriteDeadline(time.Now().Add(snapshotStall)); err != nil {
			return &peerError{err}
		}
		if _, err := o.conn.Write(chunk[:n]); err != nil {
			return &peerError{silence(err, snapshotStall)}
		}
		sent += int64(n)
		o.p.snapshotSent.Store(sent)
		if rate > 0 {
			due := began.Add(time.Duration(float64(sent) / float64(rate) * float64(time.Second)))
			if err := pause(ctx, time.Until(due)); err != nil {
				return err
			}
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// finish waits for the final answer. While the other side stores and loads, it sends informational answers.
func (o *outgoing) finish() error {
	for {
		if err := o.conn.SetReadDeadline(time.Now().Add(snapshotStall)); err != nil {
			return &peerError{err}
		}
		answer, err := o.answer()
		switch {
		case err != nil:
			return &peerError{silence(err, snapshotStall)}
		case answer.StatusCode == http.StatusNoContent:
			return nil
		case answer.StatusCode >= 200:
			return readRefusal(answer.Status, answer.Body)
		}
	}
}

// serveSnapshot receives a snapshot.
func (t *Transport) serveSnapshot(w http.ResponseWriter, r *http.Request) {
	life, leave := t.enter()
	if life == nil {
		http.Error(w, "not running", http.StatusServiceUnavailable)
		return
	}
	defer leave()
	h := t.acceptHandshake(w, r, "POST")
	if h == nil {
		return
	}
	message, err := wire.ParseSnapshot(r.Header)
	if err != nil || r.ContentLength < 0 {
		http.Error(w, wire.BadHeader(r.Header, wire.HeaderSnapshot).Error(), http.StatusBadRequest)
		return
	}
	if !t.admitSnapshot(h.From) {
		http.Error(w, "busy with other snapshots", http.StatusServiceUnavailable)
		return
	}
	defer t.dismissSnapshot(h.From)
	if err := t.receiveSnapshot(life, w, r, h.From, message); err != nil {
		t.journal.log.Warnf("the snapshot up to index %d from %s was not accepted: %v", message.Meta.Index, t.title(h.From), err)
		http.Error(w, fmt.Sprintf("the snapshot was not accepted: %.300v", err), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (t *Transport) receiveSnapshot(life context.Context, w http.ResponseWriter, r *http.Request, from raft.MemberID, m raft.Snapshot) error {
	ctx, cancel := context.WithCancel(life)
	defer cancel()
	body := &incoming{r: r.Body, control: http.NewResponseController(w), arrived: make(chan struct{})}
	stop := context.AfterFunc(ctx, body.interrupt)
	defer stop()
	done := make(chan struct{})
	var signs sync.WaitGroup
	signs.Go(func() { body.signal(w, done) })
	err := t.o.Owner.ReceiveSnapshot(ctx, from, m, body)
	close(done)
	signs.Wait()
	err = errors.Join(err, body.control.SetWriteDeadline(time.Now().Add(snapshotStall))) // for the final answer
	if p := t.peer(from); p != nil {
		p.recordHeard(time.Now())
	}
	return err
}

// admitSnapshot counts a snapshot being received, if there may be another.
func (t *Transport) admitSnapshot(from raft.MemberID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.snapshots[from] || len(t.snapshots) >= snapshotsReceived {
		return false
	}
	t.snapshots[from] = true
	return true
}

func (t *Transport) dismissSnapshot(from raft.MemberID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.snapshots, from)
}

// incoming is the body of a snapshot being received. It fails if nothing arrives for a while.
type incoming struct {
	r       io.Reader
	control *http.ResponseController
	arrived chan struct{} // closed when the body is complete, or has failed
	ended   bool

	// mu guards stopped, and setting the deadline.
	mu      sync.Mutex
	stopped bool
}

// Read implements io.Reader.
func (b *incoming) Read(p []byte) (int, error) {
	if err := b.extend(); err != nil {
		return 0, err
	}
	n, err := b.r.Read(p)
	if err != nil && !b.ended {
		b.ended = true
		close(b.arrived)
	}
	return n, err
}

func (b *incoming) extend() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return context.Canceled
	}
	return b.control.SetReadDeadline(time.Now().Add(snapshotStall))
}

// interrupt makes the present read and all later ones fail.
func (b *incoming) interrupt() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = true
	_ = b.control.SetReadDeadline(time.Now()) // fails only on a failed connection
}

// signal tells the sender that its complete snapshot is being stored.
func (b *incoming) signal(w http.ResponseWriter, done <-chan struct{}) {
	select {
	case <-b.arrived:
	case <-done:
		return
	}
	tick := time.NewTicker(snapshotAlive)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := b.control.SetWriteDeadline(time.Now().Add(snapshotStall)); err != nil {
				return // the connection has failed
			}
			w.WriteHeader(http.StatusProcessing)
		case <-done:
			return
		}
	}
}
