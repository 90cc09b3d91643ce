package lasting

import (
	"testing"
	"time"
)

// TestAConditionIsToldAtItsMoments goes through minutes of given time.
func TestAConditionIsToldAtItsMoments(t *testing.T) {
	type step struct {
		at     time.Duration
		holds  bool
		want   Moment
		lasted time.Duration
	}
	tests := []struct {
		name  string
		grace time.Duration
		steps []step
	}{
		{"begins, lasts, ends", 0, []step{
			{0, true, Begins, 0}, {time.Second, true, Quiet, time.Second}, {59 * time.Second, true, Quiet, 59 * time.Second},
			{60 * time.Second, true, Lasts, time.Minute}, {61 * time.Second, true, Quiet, 61 * time.Second},
			{120 * time.Second, true, Lasts, 2 * time.Minute}, {121 * time.Second, false, Ends, 121 * time.Second},
			{122 * time.Second, false, Quiet, 0},
		}},
		{"comes again", 0, []step{
			{0, true, Begins, 0}, {time.Second, false, Ends, time.Second}, {2 * time.Second, true, Begins, 0},
		}},
		{"ends within its grace", 5 * time.Second, []step{
			{0, true, Quiet, 0}, {4 * time.Second, true, Quiet, 4 * time.Second}, {4500 * time.Millisecond, false, Quiet, 0},
		}},
		{"outlasts its grace", 5 * time.Second, []step{
			{0, true, Quiet, 0}, {5 * time.Second, true, Begins, 5 * time.Second}, {64 * time.Second, true, Quiet, 64 * time.Second},
			{65 * time.Second, true, Lasts, 65 * time.Second}, {66 * time.Second, false, Ends, 66 * time.Second},
		}},
		{"is looked at rarely", 0, []step{
			{0, true, Begins, 0}, {7 * time.Minute, true, Lasts, 7 * time.Minute}, {7*time.Minute + time.Second, true, Quiet, 7*time.Minute + time.Second},
		}},
		{"less than a second", 0, []step{
			{0, true, Begins, 0}, {1234567 * time.Nanosecond, false, Ends, time.Millisecond},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Unix(1_000_000, 0)
			c := Condition{Grace: tt.grace}
			for _, s := range tt.steps {
				if got, lasted := c.Observe(s.holds, start.Add(s.at)); got != s.want || lasted != s.lasted {
					t.Errorf("after %v: moment %d, lasted %v, want %d, %v", s.at, got, lasted, s.want, s.lasted)
				}
			}
		})
	}
}
