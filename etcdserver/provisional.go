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

// memberListMax bounds how many members one can be told of.
const memberListMax = 256

// provisionalPeers are members that others have named, and the log has not yet.
type provisionalPeers struct {
	// mu guards the rest, and setting the transport's peers.
	mu    sync.Mutex
	named map[ID]MemberInfo
	asked time.Time
}

func (s *provisionalPeers) get(id ID) (MemberInfo, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	info, ok := s.named[id]
	return info, ok
}

// unknown gives those that the log has not told of, and forgets the others. s.mu is held.
func (s *provisionalPeers) unknown(m *replica.Membership) []MemberInfo {
	maps.DeleteFunc(s.named, func(id ID, _ MemberInfo) bool {
		_, known := m.Members[id]
		_, gone := m.Removed[id]
		return known || gone
	})
	return slices.SortedFunc(maps.Values(s.named), func(a, b MemberInfo) int { return cmp.Compare(a.ID, b.ID) })
}

// due tells whether it is time to ask again.
func (s *provisionalPeers) due(every time.Duration) bool {
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
	if !m.provisional.due(m.options.Election) {
		return
	}
	for _, info := range m.knownPeers(state) {
		if info.ID != m.self {
			m.raft.notify(info.ID, &pb.Envelope{Inquire: true})
		}
	}
}

// sendMemberList answers a member that inquires.
func (m *Member) sendMemberList(to ID) {
	state := m.apply.present.Load()
	list := &pb.MemberList{Index: uint64(state.Index)}
	for _, info := range state.Members.List() {
		list.Members = append(list.Members, info.Proto())
	}
	m.raft.notify(to, &pb.Envelope{MemberList: list})
}

// receiveMemberList believes a member that has applied more than this one.
func (m *Member) receiveMemberList(from ID, list *pb.MemberList) {
	state := m.apply.present.Load()
	knows := func(info MemberInfo) bool { return info.ID == from }
	if !slices.ContainsFunc(m.knownPeers(state), knows) || list.Index <= uint64(state.Index) || len(list.Members) > memberListMax {
		return
	}
	m.provisional.mu.Lock()
	m.provisional.named = map[ID]MemberInfo{}
	for _, p := range list.Members {
		m.provisional.named[ID(p.Id)] = replica.MemberFromProto(p)
	}
	named := m.provisional.unknown(state.Members)
	m.provisional.mu.Unlock()
	m.log.named(from, named)
	m.setPeers()
}
