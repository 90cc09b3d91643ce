package etcdserver

import (
	"fmt"
	"strings"

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
func (s *status) reach() reach {
	peers := map[raft.MemberID]rafthttp.PeerStatus{}
	for _, p := range s.transport.Status() {
		peers[p.ID] = p
	}
	voters := s.Status().Configuration.Voters
	r := reach{voters: len(voters), own: s.peers.Info(s.self).PeerURLs}
	for _, id := range voters {
		peer := peers[id]
		switch {
		case id == s.self.Raft():
			r.reached++
		case !peer.Active:
			r.missing = append(r.missing, s.title(ID(id))+reasonOf(peer.LastError))
		default:
			r.reached++
			if !peer.DialsHere {
				r.mute = append(r.mute, s.title(ID(id)))
			}
		}
	}
	return r
}

// Reach says which voters this member can talk to, and which it cannot, and why.
func (s *status) Reach() string { return s.reach().String() }

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

// title is how log lines call a member: by its id, its name if that is known, and where it is reached.
func (s *status) title(id ID) string { return s.peers.Info(id).Title() }

// LeaderTitle names the leader for people.
func (s *status) LeaderTitle() string {
	if leader := s.Leader(); leader != 0 {
		return s.title(leader)
	}
	return "nobody"
}
