package peerlist

import (
	"maps"
	"slices"
	"strings"

	"canopy/etcdserver/replica"
)

// If the addresses of all members have changed, no member finds another one, so the list of members cannot be changed either.
// Then an operator gives each member, at a start, the new peer URLs of the others. They are dialled instead of those in the
// list, and nothing else changes: other members are still checked by ID, cluster and incarnation. Once there is a leader, each
// member proposes its own new URLs, and the list counts again.

// Forced are the peer URLs that an operator gave (--force-peer-urls), instead of those in
// the list of members. Only a List calls dialled, under its lock. Any goroutine may call
// the other methods.
type Forced struct {
	given  map[string][]string     // sorted, by name or id; never changed
	listed map[replica.ID][]string // what the list said when the log was restored
	over   map[replica.ID]bool     // the list was changed since then, and counts
}

// NewForced takes the URLs by name or ID.
func NewForced(given map[string][]string) *Forced {
	f := &Forced{given: map[string][]string{}, listed: map[replica.ID][]string{}, over: map[replica.ID]bool{}}
	for key, urls := range given {
		f.given[key] = slices.Sorted(slices.Values(urls))
	}
	return f
}

// None tells whether nothing was given.
func (f *Forced) None() bool { return len(f.given) == 0 }

// Of gives what was given for a member; nil: nothing.
func (f *Forced) Of(info replica.MemberInfo) []string {
	if urls, ok := f.given[info.ID.String()]; ok {
		return urls
	}
	return f.given[info.Name]
}

// dialled is where a member is dialled. restored tells that the list is the one from before this start, or newer.
func (f *Forced) dialled(info replica.MemberInfo, restored bool) []string {
	urls := f.Of(info)
	if urls == nil || f.over[info.ID] {
		return info.PeerURLs
	}
	if before, seen := f.listed[info.ID]; restored && !seen {
		f.listed[info.ID] = info.PeerURLs
	} else if seen && !slices.Equal(before, info.PeerURLs) {
		f.over[info.ID] = true
		return info.PeerURLs
	}
	return urls
}

// Text is the list in one form, whatever the order in which it was given.
func (f *Forced) Text() string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(f.given)) {
		for _, url := range f.given[key] {
			parts = append(parts, key+"="+url)
		}
	}
	return strings.Join(parts, ",")
}

// Unknown gives the names for which URLs were given, and which no member has.
func (f *Forced) Unknown(members []replica.MemberInfo) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(f.given)), func(key string) bool {
		return slices.ContainsFunc(members, func(m replica.MemberInfo) bool { return m.ID.String() == key || m.Name == key })
	})
}
