package value

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// Count is an unsigned number (F2) from low to high; zero, if not empty, says what 0 means and allows it.
func Count[T int | int64 | uint64](p *T, low, high T, zero string) Value {
	return countValue[T]{p, low, high, zero}
}

type countValue[T int | int64 | uint64] struct {
	p        *T
	min, max T
	zero     string
}

func (v countValue[T]) Set(s string) error {
	n, err := parseUnsigned(s)
	if err != nil || T(n) < 0 || uint64(T(n)) != n {
		return errParse
	}
	*v.p = T(n)
	return nil
}
func (v countValue[T]) String() string  { return fmt.Sprint(*v.p) }
func (v countValue[T]) Type() string    { return "number" }
func (v countValue[T]) Allowed() string { return span(fmt.Sprint(v.min), fmt.Sprint(v.max), v.zero) }
func (v countValue[T]) Check() error {
	if v.zero != "" && *v.p == 0 || !outside(*v.p, v.min, v.max) {
		return nil
	}
	return fmt.Errorf("must be %s", v.Allowed())
}

// Size is a number of bytes, written plain or with KiB, MiB or GiB; its bounds are those of Count.
func Size[T int | int64](p *T, low, high T, zero string) Value {
	return sizeValue[T]{p, low, high, zero}
}

type sizeValue[T int | int64] struct {
	p        *T
	min, max T
	zero     string
}

func (v sizeValue[T]) Set(s string) error {
	n, err := parseSize(s)
	if err != nil || T(n) < 0 || uint64(T(n)) != n {
		return errParse
	}
	*v.p = T(n)
	return nil
}
func (v sizeValue[T]) String() string { return formatSize(int64(*v.p)) }
func (v sizeValue[T]) Type() string   { return "bytes" }
func (v sizeValue[T]) Allowed() string {
	return span(formatSize(int64(v.min)), formatSize(int64(v.max)), v.zero)
}
func (v sizeValue[T]) Check() error {
	if v.zero != "" && *v.p == 0 || !outside(*v.p, v.min, v.max) {
		return nil
	}
	return fmt.Errorf("must be %s", v.Allowed())
}

// Time is a duration: plain numbers are milliseconds, as in the reference, and Go's notation works too (F2). Its bounds are
// those of Count.
func Time(p *time.Duration, low, high time.Duration, zero string) Value {
	return timeValue{p: p, min: low, max: high, zero: zero}
}

// UncheckedTime is Time whose bounds are shown, but left to a rule that has its own wording (F26).
func UncheckedTime(p *time.Duration, low, high time.Duration) Value {
	return timeValue{p: p, min: low, max: high, anyRange: true}
}

type timeValue struct {
	p        *time.Duration
	min, max time.Duration
	zero     string
	anyRange bool
}

func (v timeValue) Set(s string) error {
	if ms, err := parseUnsigned(s); err == nil {
		over, ns := bits.Mul64(ms, uint64(time.Millisecond))
		if over != 0 || time.Duration(ns) < 0 {
			return errParse
		}
		*v.p = time.Duration(ns)
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return errParse
	}
	*v.p = d
	return nil
}
func (v timeValue) String() string  { return formatTime(*v.p) }
func (v timeValue) Type() string    { return "time" }
func (v timeValue) Allowed() string { return span(formatTime(v.min), formatTime(v.max), v.zero) }
func (v timeValue) Check() error {
	if v.anyRange || v.zero != "" && *v.p == 0 || !outside(*v.p, v.min, v.max) {
		return nil
	}
	return fmt.Errorf("must be %s", v.Allowed())
}

// parseUnsigned reads a decimal or 0x number. Leading zeros stay decimal: an octal 010 would be a trap.
func parseUnsigned(s string) (uint64, error) {
	if hex, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		return strconv.ParseUint(hex, 16, 64)
	}
	return strconv.ParseUint(s, 10, 64)
}

func parseSize(s string) (uint64, error) {
	shift := 0
	for i, unit := range []string{"KiB", "MiB", "GiB"} {
		if number, ok := strings.CutSuffix(s, unit); ok {
			s, shift = number, 10*(i+1)
		}
	}
	n, err := parseUnsigned(s)
	if err != nil || n<<shift>>shift != n {
		return 0, errParse
	}
	return n << shift, nil
}

func formatSize(n int64) string {
	unit := 0
	for n != 0 && n%1024 == 0 && unit < 3 {
		n, unit = n/1024, unit+1
	}
	return strconv.FormatInt(n, 10) + []string{"", "KiB", "MiB", "GiB"}[unit]
}

// formatTime is Go's notation without trailing zero parts: 5m, not 5m0s.
func formatTime(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func span(low, high, zero string) string {
	if zero == "" {
		return fmt.Sprintf("%s to %s", low, high)
	}
	return fmt.Sprintf("%s to %s, or 0 = %s", low, high, zero)
}
