package consistency

import (
	"slices"
	"testing"

	"canopy/etcdserver/replica"
)

// ends are the differences that ended.
type ends struct{ all []Difference }

func (*ends) SendHash(replica.ID, replica.StateHash, bool) {}
func (e *ends) Differs(d Difference, differs bool) {
	if !differs {
		e.all = append(e.all, d)
	}
}

// TestARemovalEndsTheAlarm: two of four members have another state than the other two. With the removal of one of them,
// and without another write, a majority is right again: its members have no alarm, and the one that is left stops. What
// the removed one said comes late, and is not remembered.
func TestARemovalEndsTheAlarm(t *testing.T) {
	const index = 10
	head := func(ids ...replica.ID) *replica.Head {
		h := &replica.Head{Index: index, Members: replica.NewMembership()}
		for _, id := range ids {
			h.Members.Members[id] = replica.MemberInfo{ID: id}
			h.Config.Voters = append(h.Config.Voters, id.Raft())
		}
		return h
	}
	states := map[replica.ID]uint64{1: 7, 2: 7, 3: 8, 4: 8}
	before, after := head(1, 2, 3, 4), head(1, 2, 3)
	for self := replica.ID(1); self <= 3; self++ {
		told := &ends{}
		c := New(self, nil, told)
		c.Keep(before.Members, before.Config)
		c.Applied(replica.StateHash{Index: index, Hash: states[self]}, before)
		for id, hash := range states {
			if id != self {
				c.Heard(id, replica.StateHash{Index: index, Hash: hash}, false, before)
			}
		}
		if all, undecided := c.Differences(); len(all) != 2 || !undecided {
			t.Errorf("member %v: before the removal %v, undecided %v", self, all, undecided)
		}
		c.Keep(after.Members, after.Config)
		c.Heard(4, replica.StateHash{Index: index, Hash: states[4]}, false, before)
		all, undecided := c.Differences()
		for _, d := range all {
			if d.Member == 4 {
				t.Errorf("member %v: the alarm names the removed member", self)
			}
		}
		if sound := states[self] == 7; sound == undecided || sound == (len(c.corrupt) == 1) || sound != slices.Equal(told.all, []Difference{{4, index}}) {
			t.Errorf("member %v: after the removal %v, undecided %v, stops %v, told the end of %v", self, all, undecided, len(c.corrupt) == 1, told.all)
		}
	}
}
