package etcdserver

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/replica"
	"canopy/raft"
	"canopy/rafthttp"
	"canopy/store"
)

// Transport carries messages between members; rafthttp.Transport does it over
// the peer port. Its methods but Run return at once, and drop what they cannot
// take: SendSnapshot returns when the snapshot is there, or is not.
type Transport interface {
	Run(ctx context.Context) error
	SetPeers(peers []rafthttp.Peer)
	Send(out []raft.Outbound)
	SendEnvelope(to raft.MemberID, note []byte) bool
	SendSnapshot(ctx context.Context, to raft.MemberID, m raft.Snapshot, body io.Reader, size int64) error
	Status() []rafthttp.PeerStatus
}

// firstIncarnations remember which data directory spoke first for a member, until the
// member has published that.
type firstIncarnations struct {
	// mu guards seen, for one map operation.
	mu   sync.Mutex
	seen map[raft.MemberID][16]byte
}

// first tells whether an incarnation is that of the first contact.
func (c *firstIncarnations) first(id raft.MemberID, incarnation [16]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, known := c.seen[id]
	if !known {
		c.seen[id] = incarnation
		return true
	}
	return before == incarnation
}

// Admit says whether another member may talk to this one (R31): it must be in
// the list of members, with the data directory it always had (R34, R35). One
// that was removed is told by which entry.
func (m *Member) Admit(peer raft.MemberID, incarnation [16]byte) *rafthttp.Refusal {
	state := m.apply.present.Load()
	if by, gone := state.Members.Removed[ID(peer)]; gone {
		return &rafthttp.Refusal{Reason: rafthttp.Removed, Term: by.Term, Index: by.Index,
			Text: fmt.Sprintf("member %v was removed from the cluster", ID(peer))}
	}
	info, known := state.Members.Members[ID(peer)]
	if !known {
		info, known = m.provisional.get(ID(peer))
	}
	if !known && !m.isSeed(state, ID(peer)) {
		m.inquire(state)
		return &rafthttp.Refusal{Reason: rafthttp.Unknown,
			Text: fmt.Sprintf("member %v is not in the list of members of %v (yet)", ID(peer), m.self)}
	}
	if !sameIncarnation(info.Incarnation, incarnation[:]) || info.Incarnation == nil && !m.firstIncarnations.first(peer, incarnation) {
		return &rafthttp.Refusal{Reason: rafthttp.OtherIncarnation,
			Text: fmt.Sprintf("member %v has lost its data: remove it and add it again", ID(peer))}
	}
	return nil
}

// knownPeers are the members that this one knows, seeds included.
func (m *Member) knownPeers(state *replica.Head) []MemberInfo {
	all := state.Members.List()
	for _, seed := range m.seeds {
		if _, known := state.Members.Members[seed.ID]; !known && m.isSeed(state, seed.ID) {
			all = append(all, seed)
		}
	}
	return all
}

// isSeed tells whether a member is one of those that this one joined. They
// count until the log has told of this member itself: before that it tells of
// members that may be long gone, and not of those that are there.
func (m *Member) isSeed(state *replica.Head, id ID) bool {
	if _, arrived := state.Members.Members[m.self]; arrived {
		return false
	}
	return slices.ContainsFunc(m.seeds, func(s MemberInfo) bool { return s.ID == id })
}

// Receive takes raft's messages from another member.
func (m *Member) Receive(ctx context.Context, from raft.MemberID, messages []raft.Message) {
	in := inbound{from, messages, min(entryBytes(messages), inboundBytes)}
	if m.raft.room.Acquire(ctx, in.bytes) != nil {
		return // the stream ends, or the member
	}
	select {
	case m.raft.inbound <- in:
	case <-ctx.Done():
	case <-m.stopped:
	}
}

// entryBytes is the length of all entries' data in messages.
func entryBytes(messages []raft.Message) (bytes int64) {
	for _, message := range messages {
		if m, ok := message.(raft.Append); ok {
			for i := range m.Entries {
				bytes += int64(len(m.Entries[i].Data))
			}
		}
	}
	return bytes
}

// ReceiveEnvelope takes requests for the leader's log from another member, or its
// answer to ours. What cannot be applied never gets near the log.
func (m *Member) ReceiveEnvelope(ctx context.Context, from raft.MemberID, data []byte) {
	var envelope pb.Envelope
	if err := envelope.UnmarshalVTUnsafe(data); err != nil {
		m.log.badNote(ID(from), err)
		return
	}
	var refused []uint64
	for _, request := range envelope.Forward {
		if err := checkForwarded(request); err != nil {
			m.log.badNote(ID(from), err)
			continue
		}
		p := proposal{data: request, from: ID(from)}
		if !m.raft.proposals.put(p) {
			refused = append(refused, p.id())
		}
	}
	if envelope.Change != nil {
		m.receiveChange(ID(from), envelope.Change)
	}
	switch {
	case envelope.Hash != nil:
		m.receiveHash(ID(from), envelope.Hash)
		return
	case envelope.Inquire:
		m.sendMemberList(ID(from))
		return
	case envelope.MemberList != nil:
		m.receiveMemberList(ID(from), envelope.MemberList)
		return
	}
	returned, answer := envelope.Returned, envelope.Answer // and not what was forwarded
	m.raft.calls.put(func() {
		if len(refused) > 0 {
			m.raft.notify(ID(from), &pb.Envelope{Returned: refused})
		}
		if len(returned) > 0 {
			m.raft.returned(ID(from), returned)
		}
		if answer != nil {
			m.raft.answered(ID(from), answer)
		}
	})
}

func (m *Member) receiveChange(from ID, c *pb.Change) {
	op := raft.ConfChangeOp(c.Op)
	if c.Member == nil || c.Member.Id == 0 || op != raft.AddLearner && op != raft.Promote && op != raft.Remove && op != raft.UpdateContext {
		m.log.badNote(from, fmt.Errorf("a membership change of kind %v makes no sense", op))
		return
	}
	m.raft.calls.put(func() {
		if !m.raft.leading {
			m.raft.notify(from, &pb.Envelope{Returned: []uint64{c.Id}})
			return
		}
		m.raft.queueChange(&waitingChange{Change: c, from: from})
	})
}

// checkForwarded makes sure that a request from another member is one that
// Do, or its introduction, could have made.
func checkForwarded(data []byte) error {
	var r pb.Request
	if err := r.UnmarshalVTUnsafe(data); err != nil {
		return fmt.Errorf("a forwarded request cannot be read: %w", err)
	}
	p := proposal{data: data}
	switch {
	case len(data) < idRoom || p.id() != r.Id || r.Id == 0 || r.Session == 0 || len(data) > requestMax:
		return fmt.Errorf("a forwarded request of %d bytes lacks its id", len(data))
	case r.NewLeader || r.Check || r.Time != 0 || r.ClusterVersion != "":
		return fmt.Errorf("a forwarded request %x is the leader's to make", r.Id)
	case r.Publish != nil && len(r.Command) == 0:
		return nil
	}
	if _, err := store.DecodeCommand(r.Command); err != nil {
		return fmt.Errorf("a forwarded request: %w", err)
	}
	return nil
}

// Lost hears that messages to a member may be gone. Raft repeats its own.
func (m *Member) Lost(peer raft.MemberID) {
	m.raft.calls.put(func() { m.raft.lost(ID(peer)) })
}

// Removed hears from another member that this one was removed. That is
// believed if it happened after all that this one knows (R15).
func (m *Member) Removed(by raft.MemberID, term raft.Term, index raft.Index) {
	state := m.apply.present.Load()
	if _, known := state.Members.Removed[m.self]; known {
		return
	}
	if index <= state.Index {
		m.log.doubted(ID(by), index)
		return
	}
	m.leave.begin(replica.Removal{Term: term, Index: index})
}

// setPeers tells the transport who there is to talk to.
func (m *Member) setPeers() {
	m.provisional.mu.Lock()
	defer m.provisional.mu.Unlock()
	state := m.apply.present.Load()
	restored := state.Index >= m.known
	members := append(m.knownPeers(state), m.provisional.unknown(state.Members)...)
	var peers []rafthttp.Peer
	for _, info := range members {
		if info.ID != m.self {
			peers = append(peers, rafthttp.Peer{ID: info.ID.Raft(), Name: info.Name, URLs: m.forced.dialled(info, restored), Incarnation: info.Incarnation})
		}
	}
	m.peers.SetPeers(peers)
}

// membersChanged takes notice of another list of members. The apply loop calls
// it.
func (m *Member) membersChanged(state *replica.Head) {
	m.setPeers()
	m.raft.followers.keep(state.Members)
	m.apply.compare.keep(state.Members, state.Config)
	if state.Members.Version != "" {
		m.versionOnce.Do(func() { close(m.versionKnown) })
	}
	m.wakeNegotiation()
	if by, gone := state.Members.Removed[m.self]; gone {
		m.leave.begin(by)
	}
}
