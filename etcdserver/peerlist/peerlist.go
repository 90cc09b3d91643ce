// Package peerlist knows who the other members are: which of them may talk to this one,
// and where they are dialled.
//
// A member is a peer if it is in the list of members that the log makes. A member that joins
// has no log yet: until it finds itself in the list, the members count that it asked before
// its start (seeds). Two files add to that: provisional.go, members that others have named
// and that are not in the log yet; forced.go, peer URLs that an operator gave instead of
// those in the list.
package peerlist

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"time"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/replica"
	"canopy/raft"
	"canopy/rafthttp"
)

// Options say what a List works with.
type Options struct {
	Self     replica.ID
	Seeds    []replica.MemberInfo
	Forced   *Forced
	Restored raft.Index           // what was known to be committed at the start is applied then
	AskEvery time.Duration        // between questions who the members are
	Present  func() *replica.Head // the state that was published last
	SetPeers func([]rafthttp.Peer)
	Notify   func(to replica.ID, e *pb.Envelope) bool // sends an envelope to a member
}

// List is a member's list of peers. Any goroutine may call its methods.
type List struct {
	Options

	// mu guards provisional, the URLs of Forced, and the calls of SetPeers.
	mu          sync.Mutex
	provisional provisional

	incarnations firstIncarnations
}

// New makes a list; Update has to be called before the transport has peers.
func New(o Options) *List { return &List{Options: o} }

// firstIncarnations remember which data directory spoke first for a member, until the
// member has published that.
type firstIncarnations struct {
	mu   sync.Mutex // guards seen, for one map operation
	seen map[raft.MemberID][16]byte
}

// isFirst tells whether an incarnation is the one that spoke first.
func (f *firstIncarnations) isFirst(id raft.MemberID, incarnation [16]byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	before, known := f.seen[id]
	if known {
		return before == incarnation
	}
	if f.seen == nil {
		f.seen = map[raft.MemberID][16]byte{}
	}
	f.seen[id] = incarnation
	return true
}

// Admit says whether another member may talk to this one (R31): it must be in
// the list of members, with the data directory it always had (R34, R35). One
// that was removed is told by which entry.
func (l *List) Admit(peer raft.MemberID, incarnation [16]byte) *rafthttp.Refusal {
	state, id := l.Present(), replica.ID(peer)
	if by, gone := state.Members.Removed[id]; gone {
		return &rafthttp.Refusal{Reason: rafthttp.Removed, Term: by.Term, Index: by.Index,
			Text: fmt.Sprintf("member %v was removed from the cluster", id)}
	}
	info, known := state.Members.Members[id]
	if !known {
		info, known = l.named(id)
	}
	if !known && !l.isSeed(state, id) {
		l.askOthers(state)
		return &rafthttp.Refusal{Reason: rafthttp.Unknown,
			Text: fmt.Sprintf("member %v is not in the list of members of %v (yet)", id, l.Self)}
	}
	if !sameIncarnation(info.Incarnation, incarnation[:]) || info.Incarnation == nil && !l.incarnations.isFirst(peer, incarnation) {
		return &rafthttp.Refusal{Reason: rafthttp.OtherIncarnation,
			Text: fmt.Sprintf("member %v has lost its data: remove it and add it again", id)}
	}
	return nil
}

func (l *List) named(id replica.ID) (replica.MemberInfo, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	info, ok := l.provisional.named[id]
	return info, ok
}

// sameIncarnation compares what two sides know of a member's data directory. If one does
// not know it, they are the same.
func sameIncarnation(a, b []byte) bool {
	return len(a) == 0 || len(b) == 0 || bytes.Equal(a, b)
}

// known are the members that this one knows, seeds included.
func (l *List) known(state *replica.Head) []replica.MemberInfo {
	all := state.Members.List()
	for _, seed := range l.Seeds {
		if _, known := state.Members.Members[seed.ID]; !known && l.isSeed(state, seed.ID) {
			all = append(all, seed)
		}
	}
	return all
}

// isSeed tells whether a member is one of those that this one joined. They count until this
// member finds itself in the list: before that, the list has members that may have been
// removed long ago, and lacks those that were added later.
func (l *List) isSeed(state *replica.Head, id replica.ID) bool {
	if _, arrived := state.Members.Members[l.Self]; arrived {
		return false
	}
	return slices.ContainsFunc(l.Seeds, func(s replica.MemberInfo) bool { return s.ID == id })
}

// Info is what this member knows of another one, or of itself.
func (l *List) Info(id replica.ID) replica.MemberInfo {
	if info, known := l.Present().Members.Members[id]; known {
		return info
	}
	if at := slices.IndexFunc(l.Seeds, func(s replica.MemberInfo) bool { return s.ID == id }); at >= 0 {
		return l.Seeds[at]
	}
	return replica.MemberInfo{ID: id}
}

// Update tells the transport who the peers are, and where they are dialled.
func (l *List) Update() {
	l.mu.Lock()
	defer l.mu.Unlock()
	state := l.Present()
	restored := state.Index >= l.Restored
	members := append(l.known(state), l.provisional.unknown(state.Members)...)
	var peers []rafthttp.Peer
	for _, info := range members {
		if info.ID != l.Self {
			peers = append(peers, rafthttp.Peer{ID: info.ID.Raft(), Name: info.Name, URLs: l.Forced.dialled(info, restored), Incarnation: info.Incarnation})
		}
	}
	l.SetPeers(peers)
}
