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
	registrationsMax = 128      // under one token, with those that came too late
)

// tokenLocks let one registration after the other in, so that the list that was
// read is unchanged when the registration is written. Several tokens may share a
// lock.
type tokenLocks struct {
	seed  maphash.Seed
	locks [64]sync.Mutex // held while a process registers under one of its tokens
}

func (d *tokenLocks) of(token string) *sync.Mutex {
	return &d.locks[maphash.String(d.seed, token)%uint64(len(d.locks))]
}

// refusal is why a registration is refused.
type refusal struct {
	status int
	reason string
}

// judge decides about a registration, given all present ones (D38): it must be
// valid, and its name and URLs must be new. Any other would stop every process
// that waits under the token (D20, D21).
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
			continue // it was written in another way
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

// forwardedParameters are the parameters of a method that are forwarded.
func forwardedParameters(method string) []string {
	switch method {
	case http.MethodGet:
		return []string{"quorum", "recursive", "sorted", "wait", "waitIndex", "stream"}
	case http.MethodPut:
		return []string{"value", "prevExist", "prevValue", "prevIndex"}
	}
	return []string{"prevValue", "prevIndex"}
}

// parameters gives the parameters of a request that are forwarded. It refuses
// those that would change what a token is.
func parameters(r *http.Request) (url.Values, *refusal) {
	if err := r.ParseForm(); err != nil {
		return nil, &refusal{http.StatusBadRequest, err.Error()}
	}
	kept := url.Values{}
	for name, values := range r.Form {
		if slices.Contains(forwardedParameters(r.Method), name) {
			kept[name] = values
		} else if r.Method != http.MethodGet && slices.Contains([]string{"dir", "ttl", "refresh", "recursive"}, name) {
			return nil, &refusal{http.StatusBadRequest, "a registration has no " + name}
		}
	}
	return kept, nil
}
