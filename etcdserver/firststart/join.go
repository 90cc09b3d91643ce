package firststart

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"canopy/etcdserver/replica"
	"canopy/internal/lasting"
)

// Fetch asks one peer URL for the cluster's id and its members.
type Fetch func(ctx context.Context, peerURL string) (cluster replica.ID, members []replica.MemberInfo, err error)

// askTimeout is how long one peer URL may take to answer.
const askTimeout = 2 * time.Second

// joinPatience is how long the members of a running cluster are asked until
// enough of them have answered.
const joinPatience = 30 * time.Second

// joinGrace is how long they are asked before that is logged.
const joinGrace = time.Second

// Joined is what the members of a running cluster said of it.
type Joined struct {
	Cluster, Self replica.ID
	Members       []replica.MemberInfo
}

// AlreadyBootstrappedError refuses a first start of a member that has run before, as its
// cluster knows: its data is gone, and with it its votes.
type AlreadyBootstrappedError struct {
	Member  replica.ID
	Joining bool // it was started to join, not to begin
}

// Error says what to do.
func (e *AlreadyBootstrappedError) Error() string {
	if e.Joining {
		return fmt.Sprintf("member %v has run before and its data is gone; remove it and add it again, or start it with --rejoin", e.Member)
	}
	return fmt.Sprintf("member %v has already been bootstrapped; its data is gone: remove it and add it again, and start it with --initial-cluster-state=existing", e.Member)
}

// JoinError says why a running cluster cannot be joined.
type JoinError struct{ Reason string }

// Error gives the reason.
func (e *JoinError) Error() string { return e.Reason }

// asked is one member's answer.
type asked struct {
	cluster replica.ID
	members []replica.MemberInfo
	err     error
}

// askAll asks several members at once; the URLs of one are tried in turn.
func askAll(ctx context.Context, fetch Fetch, others [][]string) []asked {
	answers := make([]asked, len(others))
	var all sync.WaitGroup
	for i, urls := range others {
		all.Go(func() {
			for _, url := range urls {
				if answers[i] = ask(ctx, fetch, url); answers[i].err == nil {
					return
				}
			}
		})
	}
	all.Wait()
	return answers
}

func ask(ctx context.Context, fetch Fetch, url string) asked {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var a asked
	a.cluster, a.members, a.err = fetch(ctx, url)
	return a
}

// CheckUnstarted makes sure, as far as anybody answers, that a member of a new
// cluster has not run before (B24). The error is an *AlreadyBootstrappedError.
func CheckUnstarted(ctx context.Context, fetch Fetch, name string, b Bootstrap) error {
	members, self, err := firstMembers(name, b)
	if err != nil {
		return err
	}
	var others [][]string
	for _, m := range members {
		if m.ID != self {
			others = append(others, m.PeerURLs)
		}
	}
	for _, a := range askAll(ctx, fetch, others) {
		if a.err == nil && hasRun(a.members, self) {
			return &AlreadyBootstrappedError{Member: self}
		}
	}
	return nil
}

func hasRun(members []replica.MemberInfo, id replica.ID) bool {
	return slices.ContainsFunc(members, func(m replica.MemberInfo) bool { return m.ID == id && len(m.ClientURLs) > 0 })
}

// Join asks the members of a running cluster who they are, until a quorum of
// them has answered, so that a stale list does not decide (B36). cluster is
// the list that this member was given, and same compares peer URLs (B29). While
// too few answer, wait is told who did not, and why, each minute. The errors are
// *JoinError and *AlreadyBootstrappedError.
func Join(ctx context.Context, fetch Fetch, name string, cluster map[string][]string, same func(x, y []string) bool, wait func(why string)) (*Joined, error) {
	own, others, names := cluster[name], [][]string{}, []string{}
	for _, other := range slices.Sorted(maps.Keys(cluster)) {
		if other != name {
			others, names = append(others, cluster[other]), append(names, other)
		}
	}
	if len(others) == 0 {
		return nil, &JoinError{"member count is unequal: --initial-cluster lists this member alone, and a running cluster has others"}
	}
	report := func(all []asked) string {
		var parts []string
		for i, a := range all {
			parts = append(parts, fmt.Sprintf("%s at %s %s", names[i], strings.Join(others[i], " "), a.outcome(own, others, same)))
		}
		return strings.Join(parts, "; ")
	}
	answers, err := askQuorum(ctx, fetch, others, report, wait)
	if err != nil {
		return nil, err
	}
	return agree(answers, own, others, same)
}

// outcome says in a few words what a member answered, if it did.
func (a asked) outcome(own []string, others [][]string, same func(x, y []string) bool) string {
	if a.err != nil {
		return fmt.Sprintf("did not answer (%v)", a.err)
	}
	if _, err := match(a, own, others, same); err != nil {
		return fmt.Sprintf("answered, and knows other members than --initial-cluster lists (%v)", err)
	}
	return "answered"
}

// askQuorum asks the others until a majority of those that have ever started has
// answered. One that was added and never started cannot answer, and has no vote.
func askQuorum(stop context.Context, fetch Fetch, others [][]string, report func([]asked) string, wait func(why string)) ([]asked, error) {
	ctx, cancel := context.WithTimeout(stop, joinPatience)
	defer cancel()
	pause := 100 * time.Millisecond
	waiting := lasting.Condition{Grace: joinGrace}
	waiting.Observe(true, time.Now())
	why := ""
	for {
		all := askAll(ctx, fetch, others)
		answers := slices.DeleteFunc(slices.Clone(all), func(a asked) bool { return a.err != nil })
		needed := max(1, startedIn(answers)/2+1)
		if len(answers) >= needed {
			return answers, nil
		}
		if ctx.Err() == nil { // else the last answers were cut short
			why = fmt.Sprintf("%d of %d members answered, and %d are needed: %s", len(answers), len(others), needed, report(all))
			if moment, _ := waiting.Observe(true, time.Now()); moment != lasting.Quiet {
				wait(why)
			}
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, 2*time.Second)
		case <-ctx.Done():
			if stop.Err() != nil {
				return nil, stop.Err()
			}
			return nil, &JoinError{"cannot fetch cluster info from peer urls: could not retrieve cluster information from the given urls: " + why}
		}
	}
}

// startedIn is how many members have published themselves, in the answer that
// knows of most.
func startedIn(answers []asked) int {
	most := 0
	for _, a := range answers {
		started := 0
		for _, m := range a.members {
			if len(m.ClientURLs) > 0 {
				started++
			}
		}
		most = max(most, started)
	}
	return most
}

// agree finds an answer whose list is the one that was given: a member that lags behind
// has another list. If any answer says that this member has run, it is believed.
func agree(answers []asked, own []string, others [][]string, same func(x, y []string) bool) (*Joined, error) {
	slices.SortStableFunc(answers, func(x, y asked) int { return cmp.Compare(len(y.members), len(x.members)) })
	var joined *Joined
	var first error
	for _, a := range answers {
		if a.cluster != answers[0].cluster {
			return nil, &JoinError{fmt.Sprintf("the members in --initial-cluster are of different clusters: %v and %v", answers[0].cluster, a.cluster)}
		}
		found, err := match(a, own, others, same)
		if found != nil && joined == nil {
			joined = found
		}
		first = cmp.Or(first, err)
	}
	if joined == nil {
		return nil, first
	}
	if slices.ContainsFunc(answers, func(a asked) bool { return hasRun(a.members, joined.Self) }) {
		return joined, &AlreadyBootstrappedError{Member: joined.Self, Joining: true}
	}
	return joined, nil
}

// match compares the live list with the one that was given, and finds this
// member in it (B32).
func match(live asked, own []string, others [][]string, same func(x, y []string) bool) (*Joined, error) {
	given := append(slices.Clone(others), own)
	if len(live.members) != len(given) {
		return nil, &JoinError{fmt.Sprintf("error validating peerURLs %s: member count is unequal: the cluster has %d members, --initial-cluster lists %d; it should be %s",
			describe(live), len(live.members), len(given), asList(live, own, same))}
	}
	joined := &Joined{Cluster: live.cluster, Members: live.members}
	for _, m := range live.members {
		at := slices.IndexFunc(given, func(urls []string) bool { return same(urls, m.PeerURLs) })
		if at < 0 {
			return nil, &JoinError{fmt.Sprintf("error validating peerURLs %s: unmatched member while checking PeerURLs: --initial-cluster does not list %v with %s; it should be %s",
				describe(live), m.ID, strings.Join(m.PeerURLs, " "), asList(live, own, same))}
		}
		if same(own, m.PeerURLs) {
			joined.Self = m.ID
		}
		given = slices.Delete(given, at, at+1)
	}
	if joined.Self == 0 {
		return nil, &JoinError{fmt.Sprintf("error validating peerURLs %s: unmatched member while checking PeerURLs: this member, with %s, is not in the cluster: add it first, with POST /v2/members",
			describe(live), strings.Join(own, " "))}
	}
	return joined, nil
}

// asList is what --initial-cluster should say: the live list, with <name> for this member, or for one that has not told its name.
func asList(a asked, own []string, same func(x, y []string) bool) string {
	var parts []string
	for _, m := range a.members {
		name := m.Name
		if name == "" {
			name = fmt.Sprintf("<name of %v>", m.ID)
		}
		if same(own, m.PeerURLs) {
			name = "<name of this member>"
		}
		for _, url := range m.PeerURLs {
			parts = append(parts, name+"="+url)
		}
	}
	return strings.Join(parts, ",")
}

// describe names the live members for a message.
func describe(a asked) string {
	var parts []string
	for _, m := range a.members {
		parts = append(parts, fmt.Sprintf("%v:%s", m.ID, strings.Join(m.PeerURLs, ",")))
	}
	return fmt.Sprintf("{ClusterID:%v Members:[%s]}", a.cluster, strings.Join(parts, " "))
}
