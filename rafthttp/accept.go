package rafthttp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"canopy/raft"
	"canopy/rafthttp/wire"
)

const (
	receiveItemsMax = 256      // messages in one call of the owner
	receiveBytesMax = 1 << 20  // and their bytes, but for the last message
	logBuffer       = 64 << 10 // bytes of a stream that are buffered
	controlBuffer   = 16 << 10
)

// Handler serves the paths below /canopy/peer/, and those of the reference's own protocol. Other paths are 404.
func (t *Transport) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case streamPath:
			t.serveStream(w, r)
		case snapshotPath:
			t.serveSnapshot(w, r)
		default:
			t.serveReference(w, r)
		}
	})
}

// HandlerWith serves the paths of members, and gives all other requests to another handler.
func (t *Transport) HandlerWith(others http.Handler) http.Handler {
	members := t.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		isRaft := path == "/raft" || strings.HasPrefix(path, "/raft/") && path != "/raft/probing" && path != "/raft/"
		if isRaft || strings.HasPrefix(path, "/canopy/peer/") {
			members.ServeHTTP(w, r)
			return
		}
		others.ServeHTTP(w, r)
	})
}

// acceptHandshake checks the headers of a handshake. If the handshake fails, it answers and gives nil.
func (t *Transport) acceptHandshake(w http.ResponseWriter, r *http.Request, method string) *wire.Hello {
	if r.Method != method {
		w.Header().Set("Allow", method)
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return nil
	}
	h, err := wire.ParseHello(r.Header)
	if err != nil {
		t.journal.warn(subject{0, "malformed"}, "a handshake from %s: %v", r.RemoteAddr, err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return nil
	}
	answer := t.newHello(h.From, nil)
	refusal := t.checkDialer(&h)
	if refusal != nil {
		answer.Incarnation = [16]byte{} // the incarnation is enough to speak as this member
	}
	answer.Highest = min(wire.VersionMax, max(wire.VersionMin, h.Highest))
	answer.Lowest = answer.Highest
	answer.Write(w.Header())
	if refusal == nil {
		t.o.HandshakeDone(r.Context())
		return &h
	}
	t.o.Observer.refused(h.From, refusal.Reason)
	t.journal.warnAfter(refusal.Reason.grace(), subject{h.From, refusal.Reason.String()}, "refused member %s at %s (URLs %.200q): %v",
		t.title(h.From), r.RemoteAddr, r.Header.Get(wire.HeaderPeerURLs), refusal)
	refusal.write(w)
	return nil
}

// inboundKey names a stream that another member has dialled; there is one of each key.
type inboundKey struct {
	from raft.MemberID
	lane laneKind
}

// inbound is a stream that another member has dialled. The goroutine of the HTTP request runs it.
type inbound struct {
	t       *Transport
	key     inboundKey
	conn    net.Conn
	cancel  context.CancelFunc // ends a wait for the owner
	frames  wire.Reader
	decoder wire.Decoder
	reply   []byte

	messages []raft.Message // decoded, and not delivered yet
	bytes    int            // of them
}

// close ends the stream, even while it waits for the owner.
func (in *inbound) close() {
	in.cancel()
	closeNow(in.conn)
}

// serveStream accepts a stream.
func (t *Transport) serveStream(w http.ResponseWriter, r *http.Request) {
	life, leave := t.enter()
	if life == nil {
		http.Error(w, "not running", http.StatusServiceUnavailable)
		return
	}
	defer leave()
	h := t.acceptHandshake(w, r, "GET")
	if h == nil {
		return
	}
	key := inboundKey{h.From, controlLane}
	switch lane := r.Header.Get(wire.HeaderLane); {
	case r.Header.Get("Upgrade") != upgradeToken:
		w.Header().Set("Upgrade", upgradeToken)
		http.Error(w, "Upgrade Required", http.StatusUpgradeRequired)
		return
	case lane == logLane.String():
		key.lane = logLane
	case lane != controlLane.String():
		http.Error(w, wire.BadHeader(r.Header, wire.HeaderLane).Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithCancel(life)
	defer cancel()
	in, err := t.upgrade(w, key, cancel)
	if err != nil {
		t.journal.warn(subject{h.From, "upgrade"}, "a stream from %s could not begin: %v", t.title(h.From), err)
		return
	}
	if in.begin(h) {
		in.answer(w.Header())
		in.run(ctx)
	}
	in.close()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.inbound[key] == in {
		delete(t.inbound, key)
	}
}

// upgrade hijacks the connection.
func (t *Transport) upgrade(w http.ResponseWriter, key inboundKey, cancel context.CancelFunc) (*inbound, error) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "streams need HTTP/1.1", http.StatusHTTPVersionNotSupported)
		return nil, err
	}
	in := &inbound{t: t, key: key, conn: conn, cancel: cancel}
	if rw.Reader.Buffered() > 0 {
		in.close()
		return nil, &wire.Malformed{What: "bytes before the answer"}
	}
	size := controlBuffer
	if key.lane == logLane {
		size = logBuffer
	}
	in.frames = wire.NewReader(bufio.NewReaderSize(&patientReader{conn, 3 * t.patience(key.lane)}, size))
	return in, nil
}

// answer ends the handshake. If it fails, reading fails too.
func (in *inbound) answer(header http.Header) {
	header.Set("Connection", "Upgrade")
	header.Set("Upgrade", upgradeToken)
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	err := header.Write(&b)
	b.WriteString("\r\n")
	if err == nil {
		err = in.conn.SetDeadline(time.Now().Add(in.t.dialTimeout())) // the server may have set others
	}
	if err == nil {
		_, err = in.conn.Write(b.Bytes())
	}
	if err != nil {
		in.close()
	}
}

// begin makes it the stream of its key, and closes an earlier one, which the other side has given up. It runs before the answer,
// so that two streams cannot be exchanged. False: the stream is not allowed any more, since the peers have changed after the
// handshake, when it was not yet registered.
func (in *inbound) begin(h *wire.Hello) bool {
	t := in.t
	t.mu.Lock()
	if t.life == nil {
		t.mu.Unlock()
		return false
	}
	if before := t.inbound[in.key]; before != nil {
		before.close()
	}
	t.inbound[in.key] = in
	t.mu.Unlock()
	if t.o.Owner.Admit(h.From, h.Incarnation) != nil {
		return false
	}
	if p := t.peer(h.From); p != nil && in.key.lane == controlLane {
		p.recordAddress(in.conn.RemoteAddr())
		for _, l := range p.lanes {
			l.dialNow() // the peer is alive
		}
	}
	return true
}

// run delivers what arrives to the owner, until the stream ends.
func (in *inbound) run(ctx context.Context) {
	in.t.journal.log.Debugf("the stream %s from %s began, at %s", in.key.lane, in.t.title(in.key.from), in.conn.RemoteAddr())
	var err error
	for err == nil && ctx.Err() == nil {
		err = in.step(ctx)
	}
	if errors.As(err, new(*wire.Malformed)) {
		in.t.journal.warn(subject{in.key.from, "malformed"}, "closed the stream %s from %s at %s: %v", in.key.lane,
			in.t.title(in.key.from), in.conn.RemoteAddr(), err)
		return
	}
	in.t.journal.log.Debugf("the stream %s from %s ended: %v", in.key.lane, in.t.title(in.key.from), err)
}

// step reads one frame. It delivers messages when no other one has arrived.
func (in *inbound) step(ctx context.Context) error {
	k, payload, err := in.frames.Next()
	if err != nil {
		return err
	}
	switch k {
	case wire.KindPing:
		err = in.pong(payload)
	case wire.KindEnvelope:
		in.deliver(ctx)
		in.t.o.Owner.ReceiveEnvelope(ctx, in.key.from, payload)
	case wire.KindPong, wire.KindSnapshot:
		err = &wire.Malformed{What: fmt.Sprintf("a frame of kind %d on a stream", k)}
	default:
		var msg raft.Message
		if msg, err = in.decoder.Message(k, payload); err == nil {
			in.messages = append(in.messages, msg)
		}
	}
	in.bytes += wire.FrameHead + len(payload)
	if !in.frames.Ready() || len(in.messages) >= receiveItemsMax || in.bytes >= receiveBytesMax {
		in.deliver(ctx)
	}
	return err
}

// deliver gives the decoded messages to the owner.
func (in *inbound) deliver(ctx context.Context) {
	in.t.o.Observer.received(in.key.from, in.bytes)
	if p := in.t.peer(in.key.from); p != nil {
		p.recordHeard(time.Now())
	}
	messages := in.messages
	in.messages, in.bytes = nil, 0
	if len(messages) > 0 {
		in.t.o.Owner.Receive(ctx, in.key.from, messages)
	}
}

// pong answers a ping at once, even before messages that came with it: the ping asks whether this member is alive.
func (in *inbound) pong(payload []byte) error {
	number, err := wire.PingNumber(payload)
	if err != nil {
		return err
	}
	in.reply = wire.AppendPing(in.reply[:0], wire.KindPong, number)
	if err := in.conn.SetWriteDeadline(time.Now().Add(in.t.stall(in.key.lane))); err != nil {
		return err
	}
	_, err = in.conn.Write(in.reply)
	return err
}

// patientReader fails if nothing arrives for a while.
type patientReader struct {
	conn     net.Conn
	patience time.Duration
}

// Read implements io.Reader.
func (p *patientReader) Read(b []byte) (int, error) {
	if err := p.conn.SetReadDeadline(time.Now().Add(p.patience)); err != nil {
		return 0, err
	}
	return p.conn.Read(b)
}
