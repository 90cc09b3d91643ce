package ctl

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"canopy/client"
)

func memberCommands(s *session) []*cobra.Command {
	return []*cobra.Command{
		s.clusterHealthCommand(), s.healthCommand(),
		group("member", "Show and change the members of the cluster", s.memberListCommand(), s.memberAddCommand(), s.memberRemoveCommand(), s.memberUpdateCommand(), s.memberPromoteCommand()),
	}
}

const healthPause = 10 * time.Second

func (s *session) clusterHealthCommand() *cobra.Command {
	var forever bool
	c := &cobra.Command{Use: "cluster-health", Short: "Ask each member whether it is healthy", Args: atMost(0)}
	c.Flags().BoolVarP(&forever, "forever", "f", false, "check again every ten seconds")
	c.RunE = func(c *cobra.Command, _ []string) error {
		for {
			err := s.clusterHealth(c.Context())
			if !forever {
				return err
			}
			s.printf("\nnext check after 10 second...\n\n")
			if !sleep(c.Context(), healthPause) {
				return nil
			}
		}
	}
	return c
}

// clusterHealth asks all members at once, each within --timeout (C42 to C44).
func (s *session) clusterHealth(ctx context.Context) error {
	c, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	all, err := c.Members(bounded)
	if err != nil {
		s.printf("cluster may be unhealthy: failed to list members\n")
		return &failure{exit: exitServer, err: err}
	}
	lines, healthy := make([][]string, len(all.Members)), make([]bool, len(all.Members))
	var asked sync.WaitGroup
	for n, m := range all.Members {
		asked.Go(func() { lines[n], healthy[n] = s.memberHealth(ctx, c, m) })
	}
	asked.Wait()
	count := 0
	for n := range lines {
		s.printf("%s\n", strings.Join(lines[n], "\n"))
		if healthy[n] {
			count++
		}
	}
	switch {
	case count == len(lines):
		s.printf("cluster is healthy\n")
		return nil
	case count == 0:
		s.printf("cluster is unavailable\n")
	default:
		s.printf("cluster is degraded\n")
	}
	return exitWith(exitHealth)
}

// memberHealth asks the client URLs of a member until one answers.
func (s *session) memberHealth(ctx context.Context, c *client.Client, m client.Member) (lines []string, healthy bool) {
	if len(m.ClientURLs) == 0 {
		return []string{fmt.Sprintf("member %s is unreachable: no available published client urls", m.ID)}, false
	}
	if s.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.timeout)
		defer cancel()
	}
	for _, at := range m.ClientURLs {
		health, err := c.HealthOf(ctx, at)
		switch {
		case err != nil:
			if ctx.Err() != nil {
				err = fmt.Errorf("no answer of %s within %v", at+"/health", s.timeout)
			}
			lines = append(lines, fmt.Sprintf("failed to check the health of member %s on %s: %v", m.ID, at, err))
		case health.Healthy:
			return append(lines, fmt.Sprintf("member %s is healthy: got healthy result from %s", m.ID, at)), true
		default:
			return append(lines, fmt.Sprintf("member %s is unhealthy: got unhealthy result from %s", m.ID, at)), false
		}
	}
	return append(lines, fmt.Sprintf("member %s is unreachable: [%s] are all unreachable", m.ID, strings.Join(m.ClientURLs, " "))), false
}

// members is the body of a command about members: its errors have the status 1 (section 4 of C).
func (s *session) members(ctx context.Context, do func(context.Context, *client.Client) error) error {
	return s.run(ctx, func(ctx context.Context, c *client.Client) error { return refusal(do(ctx, c)) })
}

// memberJSON is a member of -o json.
type memberJSON struct {
	ID         client.MemberID `json:"id"`
	Name       string          `json:"name"`
	PeerURLs   []string        `json:"peerURLs"`
	ClientURLs []string        `json:"clientURLs"`
	IsLeader   bool            `json:"isLeader"`
	IsLearner  bool            `json:"isLearner"`
}

func (s *session) memberListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the members", Args: noArguments, RunE: func(c *cobra.Command, _ []string) error {
		return s.members(c.Context(), func(ctx context.Context, cl *client.Client) error {
			all, err := cl.Members(ctx)
			if err != nil {
				return err
			}
			leader, err := cl.Leader(ctx) // without a leader the list is needed most (C46)
			if err != nil {
				leader.ID = 0
			}
			return s.printMembers(all.Members, leader.ID)
		})
	}}
}

func (s *session) printMembers(all []client.Member, leader client.MemberID) error {
	rows, list := [][]string{}, []memberJSON{}
	for _, m := range all {
		list = append(list, memberJSON{m.ID, m.Name, m.PeerURLs, m.ClientURLs, m.ID == leader, m.Learner})
		rows = append(rows, []string{m.ID.String(), m.Name, strings.Join(m.PeerURLs, ","), strings.Join(m.ClientURLs, ","), strconv.FormatBool(m.ID == leader)})
	}
	switch s.output {
	case formatJSON:
		return s.json(list)
	case formatTable:
		return s.table([]string{"ID", "NAME", "PEER URLS", "CLIENT URLS", "LEADER"}, rows)
	}
	for n, m := range all {
		if m.Name == "" {
			s.printf("%s[unstarted]: peerURLs=%s\n", m.ID, rows[n][2])
			continue
		}
		s.printf("%s: name=%s peerURLs=%s clientURLs=%s isLeader=%v\n", m.ID, m.Name, rows[n][2], rows[n][3], m.ID == leader)
	}
	return nil
}

// checkPeerURL has the words of etcdctl (C48).
func checkPeerURL(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return plain(exitUsage, "%v", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return plain(exitUsage, "URL scheme must be http or https: %s", text)
	}
	if _, _, err := net.SplitHostPort(u.Host); err != nil {
		return plain(exitUsage, `URL address does not have the form "host:port": %s`, text)
	}
	if u.Path != "" {
		return plain(exitUsage, "URL must not contain a path: %s", text)
	}
	return nil
}

func (s *session) memberAddCommand() *cobra.Command {
	return &cobra.Command{Use: "add NAME PEERURL", Short: "Add a member, and print the variables that it starts with", RunE: func(c *cobra.Command, args []string) error {
		if len(args) != 2 {
			return plain(exitUsage, "Provide a name and a single member peerURL")
		}
		if err := checkPeerURL(args[1]); err != nil {
			return err
		}
		return s.members(c.Context(), func(ctx context.Context, cl *client.Client) error {
			added, err := cl.AddMember(ctx, []string{args[1]})
			if err != nil {
				return err
			}
			all, err := cl.Members(ctx)
			if err != nil {
				return err
			}
			return s.printAdded(args[0], added, all.Members)
		})
	}}
}

func (s *session) printAdded(name string, added client.Member, all []client.Member) error {
	if s.output == formatJSON {
		return s.json(memberJSON{added.ID, name, added.PeerURLs, added.ClientURLs, false, added.Learner})
	}
	var list []string
	for _, m := range all {
		of := m.Name
		if m.ID == added.ID {
			of = name
		}
		for _, at := range m.PeerURLs {
			list = append(list, of+"="+at)
		}
	}
	s.printf("Added member named %s with ID %s to cluster\n\n", name, added.ID)
	s.printf("ETCD_NAME=%q\nETCD_INITIAL_CLUSTER=%q\nETCD_INITIAL_CLUSTER_STATE=\"existing\"\n", name, strings.Join(list, ","))
	return nil
}

// find gives the member whose ID has this text. A name is refused with the ID that belongs to it (C49).
func (s *session) find(ctx context.Context, c *client.Client, text string) (client.Member, error) {
	all, err := c.Members(ctx)
	if err != nil {
		return client.Member{}, err
	}
	for _, m := range all.Members {
		if m.ID.String() == text {
			return m, nil
		}
	}
	for _, m := range all.Members {
		if m.Name == text && text != "" {
			s.tell("Found a member named %s; if this is correct, please use its ID, eg:\n\t%s member remove %s", text, s.Name, m.ID)
		}
	}
	return client.Member{}, errNoMember
}

var errNoMember = errors.New("there is no such member")

func (s *session) memberRemoveCommand() *cobra.Command {
	return &cobra.Command{Use: "remove ID", Short: "Remove a member", RunE: func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return plain(exitUsage, "Provide a single member ID")
		}
		return s.members(c.Context(), func(ctx context.Context, cl *client.Client) error {
			m, err := s.find(ctx, cl, args[0])
			if errors.Is(err, errNoMember) {
				return plain(exitUsage, "Couldn't find a member in the cluster with an ID of %s.", args[0])
			}
			if err == nil {
				err = cl.RemoveMember(ctx, m.ID)
			}
			if err != nil {
				return err
			}
			s.printf("Removed member %s from cluster\n", args[0])
			return nil
		})
	}}
}

func (s *session) memberUpdateCommand() *cobra.Command {
	return &cobra.Command{Use: "update ID PEERURL[,PEERURL…]", Short: "Change the peer URLs of a member", RunE: func(c *cobra.Command, args []string) error {
		if len(args) != 2 {
			return plain(exitUsage, "Provide an ID and a list of comma separated peerURL (0xabcd http://example.com,http://example1.com)")
		}
		urls := strings.Split(args[1], ",")
		for _, text := range urls {
			if err := checkPeerURL(text); err != nil {
				return err
			}
		}
		var id client.MemberID
		if err := id.UnmarshalText([]byte(strings.TrimPrefix(args[0], "0x"))); err != nil {
			return plain(exitUsage, "No such member: %s", args[0])
		}
		return s.members(c.Context(), func(ctx context.Context, cl *client.Client) error {
			if err := cl.UpdateMember(ctx, id, urls); err != nil {
				return err
			}
			s.printf("Updated member with ID %s in cluster\n", args[0])
			return nil
		})
	}}
}

func (s *session) memberPromoteCommand() *cobra.Command {
	return &cobra.Command{Use: "promote ID", Short: "Make a member a voter that has caught up", RunE: func(c *cobra.Command, args []string) error {
		var id client.MemberID
		if len(args) != 1 || id.UnmarshalText([]byte(args[0])) != nil {
			return plain(exitUsage, "Provide a single member ID")
		}
		return s.members(c.Context(), func(ctx context.Context, cl *client.Client) error {
			if err := cl.PromoteMember(ctx, id); err != nil {
				return err
			}
			s.printf("Promoted member %s\n", args[0])
			return nil
		})
	}}
}
