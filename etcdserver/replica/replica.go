// Package replica is the replicated state machine: what the same log makes the
// same on all members (dissertation 3.5).
//
//	entry ──Decode──▶ Content ──Apply──▶ State ──▶ Effect
//	                                      │  the tree, its time and deadlines   (store)
//	                                      │  the members and who was removed    (Membership)
//	                                      │  which requests were applied        (sessions)
//	                                      │  users, roles and tokens            (auth)
//	                                      │  the cluster version
//	                        Load ──▶ ─────┴──▶ Snapshot ──▶ Save, Verify
//
// It has no goroutine, channel, clock or disk, and knows of raft what an entry
// says: its index, term and change, and the configuration that follows. It must
// not depend on anything but the entries (K3), so nothing in here reads a clock,
// uses random numbers, or depends on the order of a map.
package replica

import (
	"fmt"
	"slices"
	"strings"

	"canopy/etcdserver/auth"
	pb "canopy/etcdserver/etcdserverpb"
	"canopy/raft"
	"canopy/store"
	"canopy/store/watch"
)

// Most keys that one entry may expire. They are a part of the format of the log:
// all members of all versions must remove the same keys with the same entry. An
// entry with a command expires few, so that a mass expiry cannot stall writes
// behind it (R52); a tick does the bulk.
const (
	expirePerCommand = 32
	expirePerTick    = 1000
)

// heldBytesMax is how many bytes of events an expiry gathers before they are published.
const heldBytesMax = 4 << 20

// Head is the replicated state outside the tree, except the sessions, as of one
// entry. It is immutable.
type Head struct {
	Index   raft.Index
	Term    raft.Term
	Config  raft.Configuration
	Members *Membership
	Auth    *auth.State
}

// RaftMeta is the state as raft speaks of it.
func (h *Head) RaftMeta() raft.SnapshotMeta {
	return raft.SnapshotMeta{Index: h.Index, Term: h.Term, Configuration: h.Config}
}

// State is the replicated state that is being made. One goroutine owns it.
type State struct {
	Head
	Store *store.Store // its Publish shows readers what was applied

	cluster  ID
	sessions *sessions
	time     store.Time // the log's; 0: no entry told one
}

// New is the state before the first entry.
func New(cluster ID, o store.Options) *State {
	return &State{Head: Head{Members: NewMembership(), Auth: &auth.State{}}, Store: store.New(o), cluster: cluster, sessions: newSessions()}
}

// Time is the log's time: the latest of an entry.
func (s *State) Time() store.Time { return s.time }

// WasApplied tells whether a request of a session was applied.
func (s *State) WasApplied(session, id uint64) bool { return s.sessions.has(session, id) }

// Replace takes over a state that was loaded, in place of this one. Watchers of
// the store stay, if its history has what they wait for (K114).
func (s *State) Replace(with *State) {
	s.Store.Replace(with.Store)
	s.Head, s.cluster, s.sessions = with.Head, with.cluster, with.sessions
	s.time = max(s.time, with.time)
}

// ForceNewCluster makes the state that of a new cluster with one member, under a new id, so
// that members of the old one cannot mix in (B47). A member that was only being
// added has no peer URLs in the list yet, and gets these (B48).
func (s *State) ForceNewCluster(cluster, self ID, peerURLs []string) {
	own := s.Members.Members[self]
	own.ID, own.Incarnation = self, nil
	if len(own.PeerURLs) == 0 {
		own.PeerURLs = slices.Sorted(slices.Values(peerURLs))
	}
	s.cluster = cluster
	s.Members = NewMembership().With(own).WithVersion(s.Members.Version)
	s.Config = raft.Configuration{Voters: []raft.MemberID{self.Raft()}}
}

// Effect is what an entry did, besides changing the state.
type Effect struct {
	Session, Request uint64       // whose outcome this is; 0: of no request, or of one that was applied before
	Event            *watch.Event // of a command that succeeded; nil, too, while the store defers events
	Err              error        // of a command that failed: a *store.Error, an *auth.Error or an *auth.DeniedError
	Auth             *auth.Result // of a change of users, roles or tokens that succeeded
	Agreed           bool         // members compare the hash of their states behind this entry
	TimePassed       bool         // the entry let time pass, and did nothing else
	Change           *Change      // of the members; nil: none
}

// Change is a change of who is a member.
type Change struct {
	Op     raft.ConfChangeOp
	Member MemberInfo // as it is now; as it was, if it was removed
	Known  bool       // it was a member before
}

// Apply runs one entry. An error says that the log is damaged, or was written by
// a newer version.
func (s *State) Apply(e raft.Entry, c *Content) (Effect, error) {
	s.Index, s.Term = e.Index, e.Term
	switch {
	case e.Type == raft.EntryConfChange:
		return s.applyConfChange(e)
	case len(e.Data) == 0:
		return Effect{}, nil // a new leader's first entry
	}
	return s.applyRequest(c), nil
}

func (s *State) applyRequest(c *Content) Effect {
	r := &c.request
	s.pass(store.Time(r.Time), r.GetNewLeader())
	if !s.sessions.begin(r.Session, r.Id, r.Finished, s.ledTime()) {
		return Effect{} // applied before, and answered then (K123)
	}
	effect := Effect{Session: r.Session, Request: r.Id}
	switch {
	case c.command != nil:
		s.expire(expirePerCommand)
		if effect.Err = s.checkCommand(r, c.command); effect.Err == nil {
			effect.Event, effect.Err = s.Store.Apply(s.time, c.command)
		}
	case c.operation != nil:
		effect.Auth, effect.Err = s.applyAuth(r, c.operation)
		effect.Agreed = true
	case r.GetPublish() != nil:
		s.publish(r.GetPublish())
		effect.Agreed = true
	case r.GetClusterVersion() != "":
		s.Members = s.Members.WithVersion(strings.Clone(r.GetClusterVersion()))
		s.Store.Advance()
	default:
		s.expire(expirePerTick)
		return Effect{TimePassed: true, Agreed: r.GetCheck() || r.GetNewLeader()}
	}
	return effect
}

// pass lets the log's time pass until t. All entries of a leader's batch have one time.
func (s *State) pass(t store.Time, newLeader bool) {
	if newLeader && s.time != 0 && t > s.time {
		s.Store.Shift(store.Duration(t - s.time)) // nobody could refresh a key while nobody led (R51)
	}
	if t > s.time {
		s.time = t
		s.Store.Pass(t) // a snapshot has this time, too, whatever the request
	}
}

// ledTime is log time less the time nobody led. Where clocks differ a new leader
// moves the log's time, by hours maybe, and that must not age anything.
func (s *State) ledTime() store.Time { return s.time - store.Time(s.Store.Shifted()) }

// expire removes at most so many keys that are due. What it tells of them is published meanwhile if it is much.
func (s *State) expire(most int) {
	for most > 0 {
		step := min(most, expirePerCommand)
		if s.Store.Expire(s.time, step) < step {
			return
		}
		if most -= step; s.Store.Held() >= heldBytesMax {
			s.Store.Publish()
		}
	}
}

// publish takes over what a member says of itself.
func (s *State) publish(a *pb.Attributes) {
	if members, known := s.Members.published(a); known {
		s.Members = members
		s.Store.Advance()
	}
}

func (s *State) applyConfChange(e raft.Entry) (Effect, error) {
	change, err := raft.DecodeConfChange(e.Data)
	if err != nil {
		return Effect{}, entryError(e, err)
	}
	if s.Config, err = s.Config.With(change); err != nil {
		return Effect{}, entryError(e, err)
	}
	var c pb.Change
	if err := c.UnmarshalVT(change.Context); err != nil || c.Member == nil {
		return Effect{}, entryError(e, fmt.Errorf("the context of its %v cannot be read: %w", change.Op, err))
	}
	// A second copy is applied, too: raft has it in its configuration, and members of
	// all versions must make the same list of it. Leaders propose none (raftloop/changes.go).
	s.sessions.begin(c.Session, c.Id, c.Finished, s.ledTime())
	done := s.changeMember(e, change.Op, MemberFromProto(c.Member))
	s.Store.Advance()
	return Effect{Session: c.Session, Request: c.Id, Change: &done}, nil
}

func (s *State) changeMember(e raft.Entry, op raft.ConfChangeOp, info MemberInfo) Change {
	present, known := s.Members.Members[info.ID]
	present.ID = info.ID
	switch op {
	case raft.AddVoter, raft.AddLearner:
		s.Members = s.Members.With(info)
	case raft.UpdateContext:
		if known {
			present.PeerURLs = info.PeerURLs
			s.Members, info = s.Members.With(present), present
		}
	case raft.Remove:
		s.Members, info = s.Members.without(info.ID, Removal{e.Term, e.Index}), present
		s.Store.Advance() // K46: a removal counts twice
	}
	return Change{Op: op, Member: info, Known: known}
}

// EntryError is an entry that cannot be applied.
type EntryError struct {
	Index raft.Index
	Err   error
}

// Error names the entry.
func (e *EntryError) Error() string { return fmt.Sprintf("entry %d of the log: %v", e.Index, e.Err) }

// Unwrap gives the cause.
func (e *EntryError) Unwrap() error { return e.Err }

func entryError(e raft.Entry, err error) error { return &EntryError{Index: e.Index, Err: err} }
