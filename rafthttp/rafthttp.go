// Package rafthttp carries messages between the members of a cluster, over their peer ports.
//
// A Transport dials two streams to each peer, and accepts two from each. A member writes only on the streams that it has
// dialled; the other side sends only answers to pings on them:
//
//	member A                                             member B
//	         -- control: votes, heartbeats, replies -->
//	         <-- pongs --------------------------------
//	         -- log: appends, envelopes -------------->
//	         <-- pongs --------------------------------
//	         <-- control: … ---------------------------
//	         -- pongs -------------------------------->
//	         <-- log: … -------------------------------
//	         -- pongs -------------------------------->
//	         -- snapshot, a connection each ---------->   while there is one to send
//
// So a heartbeat never waits behind a megabyte of log. A lane, the sending side of a stream, is a bounded queue and one
// goroutine, which writes all queued items in one system call. A sender never waits: an item without room is dropped, and the
// Owner is told, since raft repeats its messages, and the owner its envelopes. The receiving side is one goroutine a stream. It
// may wait for the owner; then TCP delays that stream, and no other.
//
// A connection begins as HTTP, so that all kinds of members and tools share the port. Its headers state what each side must know
// of the other: protocol versions, cluster, member, incarnation. Either side may refuse, with a reason: see Refusal. Package
// wire has the coding of headers and frames. raft interprets the messages in them, and the owner interprets envelopes.
//
//	GET /canopy/peer/stream     Upgrade: canopy-peer   ->  101, then frames; or a status of 4xx and a Refusal in JSON
//	POST /canopy/peer/snapshot  the file's bytes       ->  204 when it is stored and raft has processed it
//
// The accepting side uses net/http, and hijacks the connection after the handshake. The dialling side writes its two requests
// by hand, and parses the answers with http.ReadResponse. http.Transport cannot race several URLs of one peer, gives no
// connection with deadlines after status 101, and has no deadline for each write and each informational answer of a
// snapshot.
package rafthttp

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"canopy/raft"
	"canopy/rafthttp/wire"
)

// Identity names this member, its cluster, and its incarnation: a random number of the data directory.
type Identity struct {
	Cluster     uint64
	Member      raft.MemberID
	Incarnation [16]byte
}

// Peer is another member, and its URLs.
type Peer struct {
	ID          raft.MemberID
	Name        string   // for the log; "": not known
	URLs        []string // http://host:port, or https
	Incarnation []byte   // 16 bytes; nil: not known yet
}

// Owner is the member behind the transport. Many goroutines call its methods.
type Owner interface {
	// Admit is called at each handshake, by the side that accepts and, with the headers of the answer, by the side that dials. nil:
	// it may talk.
	Admit(peer raft.MemberID, incarnation [16]byte) *Refusal
	// Receive gets messages in the order of sending. It may block: then their stream waits, and no other.
	Receive(ctx context.Context, from raft.MemberID, messages []raft.Message)
	// ReceiveEnvelope gets the bytes of SendEnvelope, which the owner may keep. It may block like Receive.
	ReceiveEnvelope(ctx context.Context, from raft.MemberID, envelope []byte)
	// ReceiveSnapshot stores the body and steps the message. It returns when that is done. body ends with io.EOF only if it is
	// complete.
	ReceiveSnapshot(ctx context.Context, from raft.MemberID, message raft.Snapshot, body io.Reader) error
	// Lost tells that messages to a peer may have been lost: the queue was full, or a stream broke. It is called once for many, and
	// again when there is room or a stream, which is the time to send again. It must return at once.
	Lost(peer raft.MemberID)
	// Removed tells that a peer claims that the entry at that position removed this member. The owner decides whether to believe
	// it (R15). It must return at once.
	Removed(by raft.MemberID, term raft.Term, index raft.Index)
}

// Options of a Transport. Self, Owner and Log are required.
type Options struct {
	Self          Identity
	ServerVersion string          // x.y.z, sent to peers; default "2.3.8"
	PeerURLs      func() []string // of this member, for the logs of others; nil: none are sent
	Heartbeat     time.Duration   // between pings; default 100 ms
	Election      time.Duration   // a peer that is silent for nearly as long counts as dead; default 1 s
	SnapshotRate  int64           // bytes a second of each snapshot being sent; 0: no limit
	Owner         Owner
	Observer      Observer
	Log           *logrus.Entry
	// HandshakeDone is called with the context of each request whose handshake as a member has succeeded; nil: it is not called.
	HandshakeDone func(request context.Context)
	// Dial opens a connection, and must fail when ctx ends; nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS begins TLS with a peer whose URL is https. The certificate of the peer must be valid for the host of that URL. After an
	// error the connection is closed. nil: only http URLs are dialled.
	TLS func(ctx context.Context, conn net.Conn, host string) (*tls.Conn, error)
	// ExplainTLS gives the kind of a failure of TLS, and tells it in words; "": the error is of another kind. nil: none is known.
	ExplainTLS func(error) (kind, text string)
}

func (o Options) withDefaults() Options {
	if o.ServerVersion == "" {
		o.ServerVersion = "2.3.8"
	}
	if o.PeerURLs == nil {
		o.PeerURLs = func() []string { return nil }
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = 100 * time.Millisecond
	}
	if o.Election <= 0 {
		o.Election = 10 * o.Heartbeat
	}
	if o.HandshakeDone == nil {
		o.HandshakeDone = func(context.Context) {}
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.ExplainTLS == nil {
		o.ExplainTLS = func(error) (kind, text string) { return "", "" }
	}
	return o
}

// Transport connects a member to its peers. Any goroutine may call its methods.
type Transport struct {
	o       Options
	began   time.Time // LastHeard of peers counts from here
	journal journal
	peers   atomic.Pointer[map[raft.MemberID]*peer] // never changed, only replaced

	// mu guards the fields below, and replacing peers. It is held for a few lines, and never while waiting.
	mu        sync.Mutex
	life      context.Context // nil unless Run runs
	workers   *sync.WaitGroup
	inbound   map[inboundKey]*inbound
	snapshots map[raft.MemberID]bool // being received
}

// New makes a transport without peers. It does nothing before Run.
func New(o Options) *Transport {
	t := &Transport{o: o.withDefaults(), began: time.Now(), inbound: map[inboundKey]*inbound{}, snapshots: map[raft.MemberID]bool{}}
	t.journal.log = o.Log
	t.peers.Store(&map[raft.MemberID]*peer{})
	return t
}

// Run keeps the connections until ctx ends. It returns nil when all its goroutines, and the handlers of open streams, have
// ended. It may be called once.
func (t *Transport) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	t.mu.Lock()
	t.life, t.workers = ctx, &workers
	for _, p := range *t.peers.Load() {
		t.start(p)
	}
	t.mu.Unlock()
	<-ctx.Done()
	t.mu.Lock()
	t.life = nil
	for _, in := range t.inbound {
		in.close()
	}
	t.mu.Unlock()
	workers.Wait()
	return nil
}

// start runs the lanes of a peer. t.mu is held, and t.life is set.
func (t *Transport) start(p *peer) {
	ctx, cancel := context.WithCancel(t.life)
	p.stop = cancel
	for _, l := range p.lanes {
		t.workers.Go(func() { l.run(ctx) })
	}
}

// enter begins the work of a handler, for which Run waits; nil: the transport does not run.
func (t *Transport) enter() (life context.Context, leave func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.life == nil {
		return nil, nil
	}
	t.workers.Add(1)
	return t.life, t.workers.Done
}

// SetPeers sets all other members. Streams from and to removed ones are closed; Owner.Admit decides about their next attempt. A
// peer whose URLs have changed is dialled again at once.
func (t *Transport) SetPeers(peers []Peer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before, after := *t.peers.Load(), map[raft.MemberID]*peer{}
	for _, each := range peers {
		p := before[each.ID]
		if p == nil {
			p = newPeer(t, each.ID)
			t.o.Observer.added(each.ID)
		}
		p.setTarget(each)
		after[each.ID] = p
	}
	t.peers.Store(&after)
	for id, p := range after {
		if before[id] == nil && t.life != nil {
			t.start(p)
		}
	}
	for id, p := range before {
		if after[id] == nil {
			p.retire()
			t.closeInbound(id)
			t.o.Observer.removed(id)
		}
	}
}

// closeInbound closes the streams that a member has dialled. t.mu is held.
func (t *Transport) closeInbound(id raft.MemberID) {
	for lane := range laneKind(laneKinds) {
		if in := t.inbound[inboundKey{id, lane}]; in != nil {
			in.close()
		}
	}
}

func (t *Transport) peer(id raft.MemberID) *peer { return (*t.peers.Load())[id] }

// Send queues messages, and never waits. A message without room, stream or peer is dropped, and Owner.Lost is called. A
// raft.Snapshot is dropped, too: use SendSnapshot.
func (t *Transport) Send(out []raft.Outbound) {
	for i := range out {
		o := &out[i]
		p := t.peer(o.To)
		if p == nil {
			t.o.Owner.Lost(o.To)
			continue
		}
		switch msg := o.Message.(type) {
		case raft.Append:
			p.lanes[logLane].put(item{message: msg, size: appendSize(msg)})
		case raft.Snapshot:
			t.o.Owner.Lost(o.To)
		default:
			p.lanes[controlLane].put(item{message: msg, size: itemOverhead})
		}
	}
}

// SendEnvelope queues an envelope for Owner.ReceiveEnvelope of the other side, after the appends sent before. Its bytes must not change
// any more. False: it was dropped, since there is no peer, stream or room, or since it has more than 32 MiB.
func (t *Transport) SendEnvelope(to raft.MemberID, envelope []byte) bool {
	p := t.peer(to)
	if p == nil || len(envelope) > wire.EnvelopeBytesMax {
		return false
	}
	return p.lanes[logLane].put(item{envelope: envelope, size: itemOverhead + int64(len(envelope))})
}
