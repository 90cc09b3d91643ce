package etcdtree

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"canopy/etcdserver/auth"
)

// MemberChange is an entry that changes the members.
type MemberChange struct {
	Kind    uint64 // as in the log (G23)
	ID      uint64
	Context []byte
}

// The kinds of a MemberChange.
const (
	AddMember    = 0
	RemoveMember = 1
	UpdateMember = 2
	AddLearner   = 3
)

// Member is a member as the tree has it.
type Member struct {
	ID         string   `json:"id"`
	Name       string   `json:"name,omitempty"`
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs,omitempty"`
	Learner    bool     `json:"isLearner,omitempty"`
}

type raftAttributes struct {
	PeerURLs []string `json:"peerURLs"`
	Learner  bool     `json:"isLearner,omitempty"`
}

type attributes struct {
	Name       string   `json:"name,omitempty"`
	ClientURLs []string `json:"clientURLs,omitempty"`
}

// Members gives the members below /0, by ID.
func (s *State) Members() []Member {
	var all []Member
	for _, id := range s.List("/0/members") {
		m := Member{ID: id}
		var raft raftAttributes
		var own attributes
		text, _ := s.Get("/0/members/" + id + "/raftAttributes")
		if json.Unmarshal([]byte(text), &raft) == nil {
			m.PeerURLs, m.Learner = raft.PeerURLs, raft.Learner
		}
		text, _ = s.Get("/0/members/" + id + "/attributes")
		if json.Unmarshal([]byte(text), &own) == nil {
			m.Name, m.ClientURLs = own.Name, own.ClientURLs
		}
		all = append(all, m)
	}
	return all
}

// Version is the cluster version; "" if there is none.
func (s *State) Version() string {
	v, _ := s.Get("/0/version")
	return v
}

// ChangeMember applies a change of the members, judged by the tree (G39). It tells whether it was taken.
func (s *State) ChangeMember(c MemberChange) bool {
	id := strconv.FormatUint(c.ID, 16)
	if _, removed := s.Get("/0/removed_members/" + id); removed {
		return false
	}
	members := s.Members()
	at := slices.IndexFunc(members, func(m Member) bool { return m.ID == id })
	if c.Kind == RemoveMember {
		if at < 0 {
			return false
		}
		return s.Delete(Request{Path: "/0/members/" + id, Recursive: true, Dir: true}) &&
			s.Create(Request{Path: "/0/removed_members/" + id})
	}
	var context struct {
		raftAttributes
		attributes
		Promote bool `json:"isPromote"`
	}
	if json.Unmarshal(c.Context, &context) != nil {
		return false
	}
	owned := slices.ContainsFunc(members, func(m Member) bool {
		return m.ID != id && slices.ContainsFunc(m.PeerURLs, func(u string) bool { return slices.Contains(context.PeerURLs, u) })
	})
	learners := slices.ContainsFunc(members, func(m Member) bool { return m.Learner })
	path := "/0/members/" + id + "/raftAttributes"
	raft := context.raftAttributes
	switch {
	case context.Promote:
		if at < 0 || !members[at].Learner {
			return false
		}
		raft = raftAttributes{PeerURLs: members[at].PeerURLs}
		return s.Update(Request{Path: path, Value: encoded(raft)})
	case c.Kind == UpdateMember:
		return at >= 0 && !owned && s.Update(Request{Path: path, Value: encoded(raft)})
	case at >= 0 || owned || c.Kind == AddLearner && learners:
		return false
	}
	return s.Create(Request{Path: path, Value: encoded(raft)})
}

// Publish sets what a member says of itself, if it is none that was removed (G37).
func (s *State) Publish(id, value string) bool {
	if _, removed := s.Get("/0/removed_members/" + strings.TrimLeft(id, "0")); removed && id != "" {
		return false
	}
	return s.Set(Request{Path: "/0/members/" + id + "/attributes", Value: value})
}

func encoded(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "" // of strings and booleans there is no error
	}
	return string(b)
}

// Users gives the users and roles below /2 (G55). Those that cannot be read are named in bad.
func (s *State) Users() (c auth.Contents, bad []string) {
	enabled, _ := s.Get("/2/enabled")
	c.Enabled = enabled == "true"
	for _, name := range s.List("/2/users") {
		var u struct {
			User     string
			Password string
			Roles    []string
		}
		text, ok := s.Get("/2/users/" + name)
		if !ok || json.Unmarshal([]byte(text), &u) != nil || u.Password == "" {
			bad = append(bad, "/2/users/"+name)
			continue
		}
		c.Users = append(c.Users, auth.User{Name: name, Hash: []byte(u.Password), Roles: u.Roles})
	}
	for _, name := range s.List("/2/roles") {
		var r struct {
			Permissions struct {
				KV struct{ Read, Write []string }
			}
		}
		text, ok := s.Get("/2/roles/" + name)
		if !ok || json.Unmarshal([]byte(text), &r) != nil {
			bad = append(bad, "/2/roles/"+name)
			continue
		}
		kv := r.Permissions.KV
		c.Roles = append(c.Roles, auth.Role{Name: name, Permissions: auth.Permissions{Read: kv.Read, Write: kv.Write}})
	}
	if c.Enabled || len(c.Users) > 0 || len(c.Roles) > 0 {
		c.Revision = 1
	}
	return c, bad
}
