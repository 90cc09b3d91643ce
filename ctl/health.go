package ctl

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"canopy/client"
)

// conditionJSON is the condition of a member, as health shows it.
type conditionJSON struct {
	ID      client.MemberID `json:"id"`
	Name    string          `json:"name"`
	URL     string          `json:"url"`
	Healthy bool            `json:"healthy"`
	Reason  string          `json:"reason,omitempty"` // why it is not healthy
	State   string          `json:"state,omitempty"`  // leader, follower, candidate or learner
	Version string          `json:"version,omitempty"`
	Index   uint64          `json:"index"` // changes that it knows
	Lag     uint64          `json:"lag"`   // changes that another one knows beyond them
	Alarm   string          `json:"alarm,omitempty"`
	Full    bool            `json:"diskFull"`
}

func (s *session) healthCommand() *cobra.Command {
	return &cobra.Command{Use: "health", Short: "Show each member in a line: who leads, who lags, alarms, full disks", Args: atMost(0),
		Long: "Show each member in a line: who leads, who lags, alarms, full disks. The exit status is 5 if not all are healthy.",
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := s.dial(c.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			bounded, cancel := s.bounded(c.Context())
			defer cancel()
			all, err := cl.Members(bounded)
			if err != nil {
				return err
			}
			return s.printHealth(s.conditions(c.Context(), cl, all.Members))
		}}
}

// conditions asks all members at once, each within --timeout.
func (s *session) conditions(ctx context.Context, c *client.Client, members []client.Member) []conditionJSON {
	if s.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.timeout)
		defer cancel()
	}
	all := make([]conditionJSON, len(members))
	var asked sync.WaitGroup
	for n, m := range members {
		asked.Go(func() { all[n] = conditionOf(ctx, c, m) })
	}
	asked.Wait()
	var newest uint64
	for _, one := range all {
		newest = max(newest, one.Index)
	}
	for n := range all {
		if all[n].Index > 0 {
			all[n].Lag = newest - all[n].Index
		}
	}
	return all
}

// conditionOf asks the first client URL of a member that answers.
func conditionOf(ctx context.Context, c *client.Client, m client.Member) conditionJSON {
	one := conditionJSON{ID: m.ID, Name: m.Name, Reason: "no published client URL"}
	for _, at := range m.ClientURLs {
		health, err := c.HealthOf(ctx, at)
		if err != nil {
			one.URL, one.Reason = at, reasonOf(err)
			continue
		}
		one.URL, one.Healthy, one.Reason, one.Alarm = at, health.Healthy, health.Reason, health.Alarm
		if stats, err := c.SelfStatsOf(ctx, at); err == nil {
			one.State = strings.ToLower(strings.TrimPrefix(stats.State, "State"))
		}
		if m.Learner {
			one.State = "learner"
		}
		if version, err := c.VersionOf(ctx, at); err == nil {
			one.Version = version.Server
		}
		if index, err := c.IndexOf(ctx, at); err == nil {
			one.Index = index
		}
		if full, found, err := c.MetricOf(ctx, at, "canopy_disk_full"); err == nil && found {
			one.Full = full != 0
		}
		return one
	}
	return one
}

// reasonOf is an error without the URL, which stands beside it.
func reasonOf(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}

func (s *session) printHealth(all []conditionJSON) error {
	healthy := true
	var rows [][]string
	for _, one := range all {
		state, healthText := one.State, "healthy"
		if !one.Healthy {
			healthy, healthText = false, "unhealthy: "+one.Reason
		}
		var alarms []string
		if one.Full {
			alarms = append(alarms, "disk is full")
		}
		if one.Alarm != "" {
			alarms = append(alarms, one.Alarm)
		}
		if !one.Healthy && state == "" {
			state = "?"
		}
		rows = append(rows, []string{one.ID.String(), one.Name, one.URL, state, strconv.FormatUint(one.Lag, 10), healthText, strings.Join(alarms, "; ")})
	}
	var err error
	if s.output == formatJSON {
		err = s.json(all)
	} else {
		err = s.table([]string{"ID", "NAME", "URL", "STATE", "LAG", "HEALTH", "ALARMS"}, rows)
	}
	if err == nil && !healthy {
		return exitWith(exitHealth)
	}
	if err != nil {
		return fmt.Errorf("the table cannot be written: %w", err)
	}
	return nil
}
