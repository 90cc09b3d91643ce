// Package rafthttp carries messages between the members of a cluster, over their peer ports.
//
// A Transport dials two streams to each peer, and accepts two from each. A member writes only on the streams that it has
// dialled; what comes back on them are answers to pings:
//
//	member A                                             member B
//	         -- control: votes, heartbeats, replies -->
//	         <-- pongs --------------------------------
//	         -- log: appends, notes ------------------>
//	         <-- pongs --------------------------------
//	         <-- control: … ---------------------------
//	         -- pongs -------------------------------->
//	         <-- log: … -------------------------------
//	         -- pongs -------------------------------->
//	         -- snapshot, a connection each ---------->   while there is one to send
//
// So a heartbeat never waits behind a megabyte of log. A lane, the sending side of a stream, is a bounded queue and one goroutine,
// which writes all that is queued in one system call; whoever sends never waits. What finds no room is dropped, and the Owner hears of
// it: raft repeats its messages, and the owner its notes. The receiving side is one goroutine a stream, which may wait
// for the owner; then TCP holds up that stream, and no other.
//
// A connection begins as HTTP (so that both kinds of members and all tools share the port), with what each side must know of
// the other in headers: protocol versions, cluster, member, incarnation. Either side may refuse, and says why: see Refusal.
//
//	GET /canopy/peer/stream     Upgrade: canopy-peer   ->  101, then frames; or a status of 4xx and a Refusal in JSON
//	POST /canopy/peer/snapshot  the file's bytes       ->  204 when it is stored and raft has heard of it
//
//	frame    | length 4 | crc 4 | kind 1 | payload … |       crc-32c of length, kind and payload
//	append   | length 4 | message | data of the entries … |  other kinds: the message alone; a note: its bytes
//
// Numbers are little-endian, length counts the payload's bytes, messages are protobuf (rafthttppb). A frame that is not
// as drawn closes its connection, and harms nothing else. What the messages mean is left to raft, what notes mean to the owner.
package rafthttp

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"canopy/raft"
)

// Identity says which member of which cluster this is, and which life of it: the incarnation is drawn when the data directory is made.
type Identity struct {
	Cluster     uint64
	Member      raft.MemberID
	Incarnation [16]byte
}

// Peer is another member, and where it can be reached.
type Peer struct {
	ID          raft.MemberID
	Name        string   // for the log; "": not known
	URLs        []string // http://host:port
	Incarnation []byte   // 16 bytes; nil: not known yet
}

// Owner is the member behind the transport. Its methods are called by many goroutines.
type Owner interface {
	// Admit is asked at each handshake, on the side that accepts and, with what the other side said of itself, on the side
	// that dials. nil: it may talk.
	Admit(peer raft.MemberID, incarnation [16]byte) *Refusal
	// Receive takes messages, in the order in which they were sent. It may block: then their stream waits, and no other.
	Receive(ctx context.Context, from raft.MemberID, messages []raft.Message)
	// ReceiveNote takes bytes of SendNote, which are the owner's from then on. It may block like Receive.
	ReceiveNote(ctx context.Context, from raft.MemberID, note []byte)
	// ReceiveSnapshot stores the body and steps the message. It returns when that is done. body ends with io.EOF only if
	// all of it has arrived.
	ReceiveSnapshot(ctx context.Context, from raft.MemberID, message raft.Snapshot, body io.Reader) error
	// Lost says that messages to a peer may have been lost: the queue was full, or a stream broke. It is called once for
	// many, and again when there is room or a stream: the time to send anew. It must return at once.
	Lost(peer raft.MemberID)
	// Removed says that a peer claims: this member was removed by the entry at that position. Whether to believe it is up
	// to the owner (R15). It must return at once.
	Removed(by raft.MemberID, term raft.Term, index raft.Index)
}

// Options of a Transport. Self, Owner and Log must be given.
type Options struct {
	Self          Identity
	ServerVersion string          // x.y.z, told to peers; default "2.3.8"
	PeerURLs      func() []string // this member's, for the logs of others; nil: none are told
	Heartbeat     time.Duration   // between pings; default 100 ms
	Election      time.Duration   // a peer silent for nearly as long is taken for dead; default 1 s
	SnapshotRate  int64           // bytes a second of each snapshot being sent; 0: as fast as it goes
	Owner         Owner
	Observer      Observer
	Log           *logrus.Entry
	// Welcomed is told of each request that begins with the handshake of a member, once that is admitted; nil: nobody is.
	Welcomed func(request context.Context)
	// Dial opens connections, and must give up when ctx ends; nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
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
	if o.Welcomed == nil {
		o.Welcomed = func(context.Context) {}
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	return o
}

// Transport connects a member to its peers. Its methods may be called by any goroutine.
type Transport struct {
	o       Options
	journal journal
	peers   atomic.Pointer[map[raft.MemberID]*peer] // never changed, only replaced

	// mu guards what is below, and replacing peers. It is held for a few lines, and never while waiting.
	mu        sync.Mutex
	life      context.Context // nil unless Run runs
	workers   *sync.WaitGroup
	inbound   map[inboundKey]*inbound
	snapshots map[raft.MemberID]bool // being received
}

// New makes a transport without peers. It does nothing before Run.
func New(o Options) *Transport {
	t := &Transport{o: o.withDefaults(), inbound: map[inboundKey]*inbound{}, snapshots: map[raft.MemberID]bool{}}
	t.journal.log = o.Log
	t.peers.Store(&map[raft.MemberID]*peer{})
	return t
}

// Run keeps the connections until ctx ends, and returns nil when all its goroutines, and the handlers of open streams, have ended.
// It may be called once.
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

// start has the lanes of a peer run. t.mu is held, and t.life is set.
func (t *Transport) start(p *peer) {
	ctx, cancel := context.WithCancel(t.life)
	p.stop = cancel
	for _, l := range p.lanes {
		t.workers.Go(func() { l.run(ctx) })
	}
}

// enter begins a handler's work, which Run waits for; nil if the transport does not run.
func (t *Transport) enter() (life context.Context, leave func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.life == nil {
		return nil, nil
	}
	t.workers.Add(1)
	return t.life, t.workers.Done
}

// SetPeers says who all the other members are. Streams from and to those that are gone are closed; what Owner.Admit says is the answer
// to their next attempt. A peer whose URLs have changed is dialled anew at once.
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
			t.turnAway(id)
			t.o.Observer.removed(id)
		}
	}
}

// turnAway closes the streams that a member has dialled. t.mu is held.
func (t *Transport) turnAway(id raft.MemberID) {
	for lane := range laneKind(laneKinds) {
		if in := t.inbound[inboundKey{id, lane}]; in != nil {
			in.close()
		}
	}
}

func (t *Transport) peer(id raft.MemberID) *peer { return (*t.peers.Load())[id] }

// Send queues messages, and never waits. What finds no room, no stream or no peer is dropped, and Owner.Lost is told. A
// raft.Snapshot is dropped, too: SendSnapshot is for that.
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

// SendNote queues bytes for the other side's Owner.ReceiveNote, behind the appends sent before. They are not to be changed any
// more. False says that they were dropped: no peer, no stream, no room, or more than 32 MiB.
func (t *Transport) SendNote(to raft.MemberID, note []byte) bool {
	p := t.peer(to)
	if p == nil || len(note) > noteBytesMax {
		return false
	}
	return p.lanes[logLane].put(item{note: note, size: itemOverhead + int64(len(note))})
}
