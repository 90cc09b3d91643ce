package service

import (
	"hash/maphash"
	"net/http"
	"net/url"
	"path"
	"slices"
	"sync"

	"canopy/client"
	"canopy/discovery"
)

// Bounds of a registration.
const (
	bodyMax          = 16 << 10 // bytes of a request
	valueMax         = 4 << 10  // bytes of a value
	registrationsMax = 128      // under one token, those who came too late included
)

// doors let one registration after the other in, so that what was looked at is
// still so when it is written. Tokens share a door by chance.
type doors struct {
	chance maphash.Seed
	locks  [64]sync.Mutex // each held by whoever registers under one of its tokens
}

func (d *doors) of(token string) *sync.Mutex {
	return &d.locks[maphash.String(d.chance, token)%uint64(len(d.locks))]
}

// refusal is why a registration is not let in.
type refusal struct {
	status int
	reason string
}

// judge decides about a registration, given all that there are (D38): one that
// is let in can be parsed, and its name and URLs are new. Anything else would
// stop every process that waits under the token (D20, D21).
func judge(there []*client.Node, key, value string) *refusal {
	if len(value) > valueMax {
		return &refusal{http.StatusRequestEntityTooLarge, "the value is too large"}
	}
	peer, err := discovery.ParsePeer(key, value)
	if err != nil {
		return &refusal{http.StatusBadRequest, err.Error()}
	}
	others := 0
	for _, n := range there {
		if path.Base(n.Key) == key {
			continue
		}
		others++
		other, err := discovery.ParsePeer(path.Base(n.Key), n.Value)
		if err != nil {
			continue // it came in by another door
		}
		switch {
		case other.ID == peer.ID:
			return &refusal{http.StatusConflict, "another key has this ID"}
		case other.Name == peer.Name:
			return &refusal{http.StatusConflict, "member with duplicated name has registered with discovery service token: " + peer.Name}
		case slices.ContainsFunc(peer.PeerURLs, func(u string) bool { return slices.Contains(other.PeerURLs, u) }):
			return &refusal{http.StatusConflict, "another member has registered with one of these URLs: " + value}
		}
	}
	if others >= registrationsMax {
		return &refusal{http.StatusConflict, "too many processes have registered under this token"}
	}
	return nil
}

// passedOn are the parameters of a method that are passed on.
func passedOn(method string) []string {
	switch method {
	case http.MethodGet:
		return []string{"quorum", "recursive", "sorted", "wait", "waitIndex", "stream"}
	case http.MethodPut:
		return []string{"value", "prevExist", "prevValue", "prevIndex"}
	}
	return []string{"prevValue", "prevIndex"}
}

// parameters are those of a request that may be passed on. Of the others, those
// that would change what a token is are refused by name.
func parameters(r *http.Request) (url.Values, *refusal) {
	if err := r.ParseForm(); err != nil {
		return nil, &refusal{http.StatusBadRequest, err.Error()}
	}
	kept := url.Values{}
	for name, values := range r.Form {
		if slices.Contains(passedOn(r.Method), name) {
			kept[name] = values
		} else if r.Method != http.MethodGet && slices.Contains([]string{"dir", "ttl", "refresh", "recursive"}, name) {
			return nil, &refusal{http.StatusBadRequest, "a registration has no " + name}
		}
	}
	return kept, nil
}
