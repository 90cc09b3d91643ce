package peerlist

import (
	"cmp"
	"maps"
	"slices"
	"time"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/replica"
)

// A member that was down may have missed that others were added, and one of those may
// lead now. It has to be admitted before the log can tell of it (dissertation 4.1), since
// only a leader sends the log. So the member asks those it knows who the members are, and
// admits those that they name.

// listMax bounds the members in a list that is received.
const listMax = 256

// provisional are members that others have named, and of which the log has not told yet.
// List.mu is held in all methods.
type provisional struct {
	named map[replica.ID]replica.MemberInfo
	asked time.Time
}

// unknown gives those of which the log has not told, and forgets the others.
func (p *provisional) unknown(m *replica.Membership) []replica.MemberInfo {
	maps.DeleteFunc(p.named, func(id replica.ID, _ replica.MemberInfo) bool {
		_, known := m.Members[id]
		_, gone := m.Removed[id]
		return known || gone
	})
	return slices.SortedFunc(maps.Values(p.named), func(a, b replica.MemberInfo) int { return cmp.Compare(a.ID, b.ID) })
}

// due tells whether it is time to ask again.
func (p *provisional) due(every time.Duration) bool {
	if !p.asked.IsZero() && time.Since(p.asked) < every {
		return false
	}
	p.asked = time.Now()
	return true
}

// askOthers asks the members that are known who the others are.
func (l *List) askOthers(state *replica.Head) {
	l.mu.Lock()
	due := l.provisional.due(l.AskEvery)
	l.mu.Unlock()
	if !due {
		return
	}
	for _, info := range l.known(state) {
		if info.ID != l.Self {
			l.Notify(info.ID, &pb.Envelope{Kind: &pb.Envelope_Inquire{Inquire: true}})
		}
	}
}

// Answer sends the list of members to one that asks.
func (l *List) Answer(to replica.ID) {
	state := l.Present()
	list := &pb.MemberList{Index: uint64(state.Index)}
	for _, info := range state.Members.List() {
		list.Members = append(list.Members, info.Proto())
	}
	l.Notify(to, &pb.Envelope{Kind: &pb.Envelope_MemberList{MemberList: list}})
}

// Receive takes the answer of another member. It is believed if that member has applied
// more than this one. It returns the members of which the log has not told yet.
func (l *List) Receive(from replica.ID, list *pb.MemberList) []replica.MemberInfo {
	state := l.Present()
	isSender := func(info replica.MemberInfo) bool { return info.ID == from }
	if !slices.ContainsFunc(l.known(state), isSender) || list.Index <= uint64(state.Index) || len(list.Members) > listMax {
		return nil
	}
	l.mu.Lock()
	l.provisional.named = map[replica.ID]replica.MemberInfo{}
	for _, p := range list.Members {
		l.provisional.named[replica.ID(p.Id)] = replica.MemberFromProto(p)
	}
	named := l.provisional.unknown(state.Members)
	l.mu.Unlock()
	l.Update()
	return named
}
