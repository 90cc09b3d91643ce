package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"canopy/etcdserver/auth"
	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/replica"
	"canopy/store"
)

// simUsers is what clients know of users and roles. The mu of sim guards it.
type simUsers struct {
	granted  []string // roles of the user bob whose grant was acknowledged
	denied   []string // roles that were surely not granted
	switches []rightSwitch
	judged   uint64            // entries of the log up to this one can be judged by switches
	writes   map[string]uint64 // the entry of each write of bob that was acknowledged, by its value
}

// rightSwitch is an entry that gives bob the right to write /guarded, or takes it.
type rightSwitch struct {
	entry uint64
	given bool
}

// administers makes users matter, grants roles one by one, and gives and takes the right of one user. It is the only one who
// does, through members that may be cut off.
func (c *client) administers() {
	patterns := auth.Permissions{Write: []string{"/guarded/*"}}
	for _, op := range []auth.Operation{
		auth.PutUser{Name: auth.Root, Hash: []byte("hash")}, auth.PutUser{Name: "bob", Hash: []byte("hash"), Roles: []string{"writer"}},
		auth.PutRole{Name: "writer"}, auth.Enable{},
	} {
		for c.change(op) != nil && !c.over.Load() {
			c.think()
		}
	}
	c.locked(func() { c.users.judged = math.MaxUint64 })
	given, known := false, true
	for ; !c.over.Load(); c.n++ {
		c.think()
		if c.rng.IntN(2) == 0 || !known {
			c.grant(fmt.Sprintf("role%d", c.n))
			continue
		}
		op := auth.PutRole{Name: "writer", Grant: patterns}
		if given {
			op = auth.PutRole{Name: "writer", Revoke: patterns}
		}
		applied, err := c.administer(op)
		switch {
		case err == nil:
			given = !given
			c.locked(func() { c.users.switches = append(c.users.switches, rightSwitch{applied.RaftIndex, given}) })
		case OutcomeOf(err) != NotApplied: // it may be applied at any later time
			known = false
			c.locked(func() {
				c.users.judged = 0
				if n := len(c.users.switches); n > 0 {
					c.users.judged = c.users.switches[n-1].entry
				}
			})
		}
	}
}

// change is administer for what may have been done by an earlier try.
func (c *client) change(op auth.Operation) error {
	_, err := c.administer(op)
	var refused *auth.Error
	if errors.As(err, &refused) && (refused.Kind == auth.Conflict || refused.Kind == auth.Invalid) {
		return nil
	}
	return err
}

// administer carries an operation of root through some member.
func (c *client) administer(op auth.Operation) (Applied, error) {
	m := c.pick()
	if m == nil {
		return Applied{}, ErrStopped
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	applied, err := m.propose(ctx, &pb.Request{
		Kind: &pb.Request_Auth{Auth: replica.OperationToProto(op)}, Requester: auth.Root, AuthRevision: m.Auth().Revision(),
	})
	c.tell("client %d at %s: %+v: %v", c.id, m.Name(), op, err)
	return applied, err
}

func (c *client) grant(role string) {
	_, err := c.administer(auth.PutUser{Name: "bob", Grant: []string{role}})
	c.locked(func() {
		switch {
		case err == nil:
			c.users.granted = append(c.users.granted, role)
		case OutcomeOf(err) == NotApplied:
			c.users.denied = append(c.users.denied, role)
		}
	})
}

// tries writes as bob whenever the member that is asked believes that bob may.
func (c *client) tries() {
	for ; !c.over.Load(); c.n++ {
		c.think()
		m := c.pick()
		if m == nil {
			continue
		}
		who, state, value := auth.Requester{User: "bob"}, m.Auth(), fmt.Sprintf("guarded%d-%d", c.id, c.n)
		if state.Enabled() && !state.Rights(who, 0).Allows(auth.Write, "/guarded/k", false) {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		applied, err := m.DoFor(ctx, Origin{Requester: who, Revision: state.Revision()}, store.Set{Key: mustKey(c.t, "/guarded/k"), Value: value})
		cancel()
		c.tell("client %d at %s: bob writes %s: %v", c.id, m.Name(), value, err)
		c.locked(func() {
			if err == nil {
				c.users.writes[value] = applied.RaftIndex
			}
		})
	}
}

// checkUsers makes sure that no acknowledged grant is lost (A62), that no write was applied behind the entry that forbids it
// (A63), and that all members have the same users (R13).
func (s *sim) checkUsers() {
	first := ""
	for _, m := range s.present() {
		if contents := fmt.Sprintf("%+v", m.Auth().Contents()); first == "" {
			first = contents
		} else if contents != first {
			s.fail("%s has other users:\n%s\n%s", m.Name(), contents, first)
		}
		bob := m.Auth().User("bob")
		for _, role := range s.users.granted {
			if bob == nil || !slices.Contains(bob.Roles, role) {
				s.fail("%s has lost the grant of %s", m.Name(), role)
			}
		}
		for _, role := range s.users.denied {
			if bob != nil && slices.Contains(bob.Roles, role) {
				s.fail("%s has %s, which was surely not granted", m.Name(), role)
			}
		}
	}
	for value, entry := range s.users.writes {
		if entry > s.users.judged {
			continue
		}
		given := false
		for _, each := range s.users.switches {
			if each.entry < entry {
				given = each.given
			}
		}
		if !given && len(s.users.switches) > 0 && entry > s.users.switches[0].entry {
			s.fail("%s was written by entry %d, behind one that forbids it: %v", value, entry, s.users.switches)
		}
	}
	s.tally.grants, s.tally.guarded = len(s.users.granted), len(s.users.writes)
}
