package etcdserver

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/replica"
	"canopy/internal/disk"
	"canopy/raft"
)

// Equal logs make equal states. That this holds is checked all the time (R12):
// at agreed entries of the log each member tells the others the hash of its
// state behind that entry. Such are a member's introduction, a leader's first
// entry, and one every few seconds if anything else was written. Who differs from a majority of the voters has
// damaged state, and stops; where no majority agrees, nobody knows who is
// wrong, and none is healthy.

// hashFormat changes with what is hashed; members compare equal formats only.
const hashFormat = 1

// InconsistentError ends a member whose state is not that of the majority. It
// is for ever: the data directory can only be replaced.
type InconsistentError struct {
	Member ID
	Dir    string
}

// Error says what happened and what to do.
func (e *InconsistentError) Error() string {
	return fmt.Sprintf("the state of member %v differs from that of a majority of the members, so it must not be served: move its data directory %s away, and start it with --rejoin, or remove the member and add it again", e.Member, e.Dir)
}

// Difference is a member whose state, when it was compared last, was not this one's.
type Difference struct {
	Member ID
	Index  raft.Index // of the agreed entry
}

// consistency compares this member's state with the others'.
type consistency struct {
	self   ID
	tell   func(to ID, hash replica.StateHash, ask bool)
	differ func(Difference, bool) // a member's state began, or ceased, to be another one

	// mu guards what is below, for a comparison with a handful of members.
	mu        sync.Mutex
	members   *replica.Membership // as of the last call of keep; nil: there was none
	own       replica.Hashes      // ascending, as many as are kept
	others    map[ID]replica.Hashes
	different map[ID]raft.Index
	undecided bool            // a difference, and no majority that this member is part of
	corrupt   chan raft.Index // has room for the one; the state is not that of the majority
}

func newConsistency(self ID, tell func(ID, replica.StateHash, bool), differ func(Difference, bool)) *consistency {
	return &consistency{
		self: self, tell: tell, differ: differ,
		others: map[ID]replica.Hashes{}, different: map[ID]raft.Index{}, corrupt: make(chan raft.Index, 1),
	}
}

// applied notes this member's state behind an agreed entry, and tells the others.
func (c *consistency) applied(own replica.StateHash, state *replica.Head) {
	c.mu.Lock()
	c.own = c.own.With(own)
	c.mu.Unlock()
	for id := range state.Members.Members {
		if id != c.self {
			c.tell(id, own, true)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.compare(own.Index, state.Config)
}

// keep forgets who is no member any more, with the difference that there was,
// and judges the others anew: without a voter there may be a majority.
func (c *consistency) keep(members *replica.Membership, config raft.Configuration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members = members
	for id := range c.others {
		if _, member := members.Members[id]; member {
			continue
		}
		delete(c.others, id)
		if index, differed := c.different[id]; differed {
			delete(c.different, id)
			c.differ(Difference{id, index}, false)
		}
	}
	for _, own := range slices.Backward(c.own) {
		if c.isCompared(own.Index) {
			c.compare(own.Index, config)
			break
		}
	}
}

// isCompared tells whether another member's state behind an entry is known.
func (c *consistency) isCompared(index raft.Index) bool {
	for _, all := range c.others {
		if _, known := all.At(index); known {
			return true
		}
	}
	return false
}

// reset forgets this member's former states, which another one has replaced.
func (c *consistency) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.own = nil
}

// heard notes another member's state. If it asks, it is told this one's.
func (c *consistency) heard(from ID, other replica.StateHash, ask bool, state *replica.Head) {
	if _, member := state.Members.Members[from]; !member {
		return
	}
	own, known := c.compareWith(from, other, state.Config)
	if ask && known {
		c.tell(from, own, false)
	}
}

// compareWith compares with another member's state, and gives this one's. A member
// that was removed meanwhile is not remembered again.
func (c *consistency) compareWith(from ID, other replica.StateHash, config raft.Configuration) (own replica.StateHash, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.members != nil {
		if _, member := c.members.Members[from]; !member {
			return replica.StateHash{}, false
		}
	}
	c.others[from] = c.others[from].With(other)
	c.compare(other.Index, config)
	return c.own.At(other.Index)
}

// compare judges all that is known of one agreed entry.
func (c *consistency) compare(index raft.Index, config raft.Configuration) {
	own, known := c.own.At(index)
	if !known {
		return
	}
	voters := map[uint64]int{}
	if config.IsVoter(c.self.Raft()) {
		voters[own.Hash]++
	}
	for id, all := range c.others {
		other, known := all.At(index)
		if !known {
			continue
		}
		c.settle(id, index, other.Hash == own.Hash)
		if config.IsVoter(id.Raft()) {
			voters[other.Hash]++
		}
	}
	quorum := len(config.Voters)/2 + 1
	c.undecided = len(c.different) > 0 && voters[own.Hash] < quorum
	for hash, count := range voters {
		if hash != own.Hash && count >= quorum {
			select {
			case c.corrupt <- index:
			default:
			}
		}
	}
}

// settle notes whether a member's state is this one's.
func (c *consistency) settle(id ID, index raft.Index, equal bool) {
	before, differed := c.different[id]
	switch {
	case equal && differed && index >= before:
		delete(c.different, id)
	case !equal && index >= before:
		c.different[id] = index
	}
	if equal == differed {
		c.differ(Difference{id, index}, !equal)
	}
}

// differences lists the members whose state is another one, by id.
func (c *consistency) differences() (all []Difference, undecided bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(c.different)) {
		all = append(all, Difference{id, c.different[id]})
	}
	return all, c.undecided && len(all) > 0
}

// check compares the state behind an agreed entry.
func (a *applyLoop) check() error {
	if a.compare == nil {
		return nil
	}
	hash, err := a.state.Hash()
	if err != nil {
		return fmt.Errorf("etcdserver: %w", err)
	}
	a.compare.applied(replica.StateHash{Index: a.state.Index, Hash: hash}, &a.state.Head)
	return nil
}

// tellHash sends a hash to a member. If it is lost, the next one is not.
func (m *Member) tellHash(to ID, h replica.StateHash, ask bool) {
	m.raft.notify(to, &pb.Envelope{Hash: &pb.StateHash{Format: hashFormat, Index: uint64(h.Index), Hash: h.Hash, Ask: ask}})
}

func (m *Member) receiveHash(from ID, h *pb.StateHash) {
	if h.Format == hashFormat {
		m.apply.compare.heard(from, replica.StateHash{Index: raft.Index(h.Index), Hash: h.Hash}, h.Ask, m.apply.present.Load())
	}
}

// Differences lists the members whose state was another one than this member's
// when they were compared last. It is empty unless something is badly wrong.
func (m *Member) Differences() []Difference {
	all, _ := m.apply.compare.differences()
	return all
}

// endIfDamaged ends this member when its state turns out to be damaged: at once
// for its clients, and for the other members when they have heard why. A note
// keeps it from being served again.
func (m *Member) endIfDamaged(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return errLoopDone
	case index := <-m.apply.compare.corrupt:
		note := fmt.Sprintf("the state of member %v at index %d differs from that of a majority of cluster %v\n", m.self, index, m.cluster)
		if err := disk.WriteFile(m.dir.FS, m.dir.Inconsistent(), []byte(note)); err != nil {
			m.log.unmarked(err)
		}
		m.damaged.Store(true)
		m.store.CloseWatchers(ErrInconsistent)
		select {
		case <-time.After(leaveAfter):
		case <-ctx.Done():
		}
		return &InconsistentError{Member: m.self, Dir: m.dir.Root}
	}
}
