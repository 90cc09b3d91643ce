package etcdserver

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"canopy/raft"
	"canopy/rafthttp"
)

// reach is which voters a member can talk to, for people who want to know why there is no quorum.
type reach struct {
	voters  int
	reached int      // this member included, if it votes
	missing []string // voters that are not reached, and why
	mute    []string // voters that are reached, and have no stream to this member
	own     []string // the peer URLs by which the cluster knows this member
}

// reach looks at the connections of this moment.
func (m *Member) reach() reach {
	status := map[raft.MemberID]rafthttp.PeerStatus{}
	for _, p := range m.peers.Status() {
		status[p.ID] = p
	}
	voters := m.Status().Configuration.Voters
	r := reach{voters: len(voters), own: m.info(m.self).PeerURLs}
	for _, id := range voters {
		peer := status[id]
		switch {
		case id == m.self.Raft():
			r.reached++
		case !peer.Active:
			r.missing = append(r.missing, m.title(ID(id))+reasonOf(peer.LastError))
		default:
			r.reached++
			if !peer.DialsHere {
				r.mute = append(r.mute, m.title(ID(id)))
			}
		}
	}
	return r
}

// Reach says which voters this member can talk to, and which it cannot, and why.
func (m *Member) Reach() string { return m.reach().String() }

func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

// quorum is how many voters make a majority.
func (r reach) quorum() int { return r.voters/2 + 1 }

// String is a sentence or two.
func (r reach) String() string {
	if r.voters == 0 {
		return "no member has told this one of the cluster yet"
	}
	text := fmt.Sprintf("%d of %d members reachable", r.reached, r.voters)
	if r.reached < r.quorum() {
		text += fmt.Sprintf(", %d are needed", r.quorum())
	}
	if len(r.missing) > 0 {
		text += "; not reachable: " + strings.Join(r.missing, "; ")
	}
	if len(r.mute) > 0 {
		text += fmt.Sprintf("; reachable, but without a connection to this member, which they know at %s: %s", strings.Join(r.own, " "), strings.Join(r.mute, "; "))
	}
	return text
}

// info is what this member knows of another one, or of itself.
func (m *Member) info(id ID) MemberInfo {
	info, known := m.apply.present.Load().Members.Members[id]
	if known {
		return info
	}
	if at := slices.IndexFunc(m.seeds, func(s MemberInfo) bool { return s.ID == id }); at >= 0 {
		return m.seeds[at]
	}
	return MemberInfo{ID: id}
}

// title is how log lines call a member: by its id, its name if that is known, and where it is reached.
func (m *Member) title(id ID) string { return titleOf(m.info(id)) }

func titleOf(i MemberInfo) string {
	if about := about(i); about != "" {
		return fmt.Sprintf("%v (%s)", i.ID, about)
	}
	return i.ID.String()
}

func about(i MemberInfo) string {
	urls := strings.Join(i.PeerURLs, " ")
	switch {
	case i.Name == "":
		return urls
	case urls == "":
		return i.Name
	}
	return i.Name + ", " + urls
}

// LeaderTitle names the leader for people.
func (m *Member) LeaderTitle() string {
	if leader := m.Leader(); leader != 0 {
		return m.title(leader)
	}
	return "nobody"
}

// silence is since when nothing was heard from the members that made this leader lead: from the leader itself or, on the
// leader, from the last voter that makes a quorum.
func (m *Member) silence(of *leadership, now time.Time) time.Duration {
	var silences []time.Duration
	configuration := m.Status().Configuration
	for _, p := range m.peers.Status() {
		silent := now.Sub(p.LastHeard)
		if !of.self && ID(p.ID) == of.leader {
			return silent
		}
		if of.self && slices.Contains(configuration.Voters, p.ID) {
			silences = append(silences, silent)
		}
	}
	slices.Sort(silences)
	needed := len(configuration.Voters) / 2 // besides this member
	if needed == 0 || len(silences) < needed {
		return 0
	}
	return silences[needed-1]
}
