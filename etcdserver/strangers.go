package etcdserver

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/replica"
)

// A member that was away may have missed that others were added, and one of
// those may lead now: it has to be believed before the log can tell of it
// (dissertation 4.1), and only it sends the log. So the member asks those it
// knows who the members are, and lets in whom they name.

// rosterMax bounds how many members one can be told of.
const rosterMax = 256

// strangers are members that others have named, and the log has not yet.
type strangers struct {
	// mu guards the rest, and setting the transport's peers.
	mu    sync.Mutex
	named map[ID]MemberInfo
	asked time.Time
}

func (s *strangers) get(id ID) (MemberInfo, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	info, ok := s.named[id]
	return info, ok
}

// unknown gives those that the log has not told of, and forgets the others. s.mu is held.
func (s *strangers) unknown(m *replica.Membership) []MemberInfo {
	maps.DeleteFunc(s.named, func(id ID, _ MemberInfo) bool {
		_, known := m.Members[id]
		_, gone := m.Removed[id]
		return known || gone
	})
	return slices.SortedFunc(maps.Values(s.named), func(a, b MemberInfo) int { return cmp.Compare(a.ID, b.ID) })
}

// due tells whether it is time to ask again.
func (s *strangers) due(every time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.asked.IsZero() && time.Since(s.asked) < every {
		return false
	}
	s.asked = time.Now()
	return true
}

// inquire asks the members that are known who the others are.
func (m *Member) inquire(state *replica.Head) {
	if !m.vouched.due(m.options.Election) {
		return
	}
	for _, info := range m.acquaintances(state) {
		if info.ID != m.self {
			m.raft.notify(info.ID, &pb.Note{Inquire: true})
		}
	}
}

// tellRoster answers a member that inquires.
func (m *Member) tellRoster(to ID) {
	state := m.apply.present.Load()
	roster := &pb.Roster{Index: uint64(state.Index)}
	for _, info := range state.Members.List() {
		roster.Members = append(roster.Members, info.Proto())
	}
	m.raft.notify(to, &pb.Note{Roster: roster})
}

// receiveRoster believes a member that has applied more than this one.
func (m *Member) receiveRoster(from ID, roster *pb.Roster) {
	state := m.apply.present.Load()
	knows := func(info MemberInfo) bool { return info.ID == from }
	if !slices.ContainsFunc(m.acquaintances(state), knows) || roster.Index <= uint64(state.Index) || len(roster.Members) > rosterMax {
		return
	}
	m.vouched.mu.Lock()
	m.vouched.named = map[ID]MemberInfo{}
	for _, p := range roster.Members {
		m.vouched.named[ID(p.Id)] = replica.MemberFromProto(p)
	}
	named := m.vouched.unknown(state.Members)
	m.vouched.mu.Unlock()
	m.log.named(from, named)
	m.setPeers()
}
