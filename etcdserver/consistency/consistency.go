// Package consistency compares the members' states, which equal logs must make equal
// (R12).
//
// At agreed entries of the log each member tells the others the hash of its state
// behind that entry. Agreed entries are those with which a member publishes itself, a
// leader's first entry, and one every few seconds if anything else was written. A
// member whose hash differs from that of a majority of the voters has a damaged state,
// and stops. Where no majority agrees, nobody knows who is wrong, and no member is
// healthy.
package consistency

import (
	"maps"
	"slices"
	"sync"

	"canopy/etcdserver/replica"
	"canopy/raft"
)

// Difference is a member whose state, when it was compared last, was not this one's.
type Difference struct {
	Member replica.ID
	Index  raft.Index // of the agreed entry
}

// Events are told what the comparison finds. They return at once.
type Events interface {
	// SendHash sends this member's hash to another one. If it is lost, the next one
	// is not. ask: the other's hash is wanted in return.
	SendHash(to replica.ID, hash replica.StateHash, ask bool)
	// Differs: a member's state began, or ceased, to be another one than this member's.
	Differs(d Difference, differs bool)
}

// Comparison compares this member's state with the others'. Any goroutine may call
// its methods.
type Comparison struct {
	self   replica.ID
	events Events

	// mu guards what is below, for a comparison with a handful of members.
	mu        sync.Mutex
	members   *replica.Membership // as of the last call of Keep; nil: there was none
	own       replica.Hashes      // ascending, as many as are kept
	others    map[replica.ID]replica.Hashes
	different map[replica.ID]raft.Index
	undecided bool            // a difference, and no majority that this member is part of
	corrupt   chan raft.Index // has room for the one; the state is not that of the majority
}

// New makes a comparison that begins with a member's own hashes.
func New(self replica.ID, own replica.Hashes, events Events) *Comparison {
	return &Comparison{
		self: self, own: own, events: events,
		others: map[replica.ID]replica.Hashes{}, different: map[replica.ID]raft.Index{}, corrupt: make(chan raft.Index, 1),
	}
}

// Corrupt receives the index of an agreed entry when this member's state turns out to
// be damaged.
func (c *Comparison) Corrupt() <-chan raft.Index { return c.corrupt }

// Applied records this member's state behind an agreed entry, and sends it to the others.
func (c *Comparison) Applied(own replica.StateHash, state *replica.Head) {
	c.mu.Lock()
	c.own = c.own.With(own)
	c.mu.Unlock()
	for id := range state.Members.Members {
		if id != c.self {
			c.events.SendHash(id, own, true)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.compare(own.Index, state.Config)
}

// Keep forgets who is no member any more, and judges the others anew: with fewer voters
// there may be a majority.
func (c *Comparison) Keep(members *replica.Membership, config raft.Configuration) {
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
			c.events.Differs(Difference{id, index}, false)
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
func (c *Comparison) isCompared(index raft.Index) bool {
	for _, all := range c.others {
		if _, known := all.At(index); known {
			return true
		}
	}
	return false
}

// Reset forgets this member's former states, which another one has replaced.
func (c *Comparison) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.own = nil
}

// Heard records another member's state. If it asks, it is sent this one's.
func (c *Comparison) Heard(from replica.ID, other replica.StateHash, ask bool, state *replica.Head) {
	if _, member := state.Members.Members[from]; !member {
		return
	}
	own, known := c.compareWith(from, other, state.Config)
	if ask && known {
		c.events.SendHash(from, own, false)
	}
}

// compareWith compares with another member's state, and gives this one's. A member
// that was removed meanwhile is not recorded again.
func (c *Comparison) compareWith(from replica.ID, other replica.StateHash, config raft.Configuration) (own replica.StateHash, known bool) {
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
func (c *Comparison) compare(index raft.Index, config raft.Configuration) {
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
		c.record(id, index, other.Hash == own.Hash)
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

// record records whether a member's state is this one's.
func (c *Comparison) record(id replica.ID, index raft.Index, equal bool) {
	before, differed := c.different[id]
	switch {
	case equal && differed && index >= before:
		delete(c.different, id)
	case !equal && index >= before:
		c.different[id] = index
	}
	if equal == differed {
		c.events.Differs(Difference{id, index}, !equal)
	}
}

// Differences lists the members whose state is another one, by ID. It is undecided
// whether one of those is right, or this member.
func (c *Comparison) Differences() (all []Difference, undecided bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(c.different)) {
		all = append(all, Difference{id, c.different[id]})
	}
	return all, c.undecided && len(all) > 0
}

// Equal is how many members, this one included, had one state at the newest agreed
// entry at which most were compared.
func (c *Comparison) Equal() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	most := 0
	for _, own := range c.own {
		equal := 1
		for _, all := range c.others {
			if other, known := all.At(own.Index); known && other.Hash == own.Hash {
				equal++
			}
		}
		most = max(most, equal)
	}
	return most
}
