// The exporter that one would write for this job with client_golang, in an afternoon and without
// tricks: pages are asked for one after the other, decoded by encoding/json, counted in maps, and
// shown as constant metrics. It is what the benchmarks compare with, and not for use: its sums are
// of doubles, it retries nothing, and it trusts the list to stand still.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"sort"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

type number struct {
	E164          string    `json:"e164"`
	Country       string    `json:"country"`
	Type          string    `json:"type"`
	Region        string    `json:"region"`
	Status        string    `json:"status"`
	Capabilities  []string  `json:"capabilities"`
	MonthlyFee    float64   `json:"monthly_fee"`
	SetupFee      float64   `json:"setup_fee"`
	Currency      string    `json:"currency"`
	TrunkID       string    `json:"trunk_id"`
	ApplicationID string    `json:"application_id"`
	CreatedAt     time.Time `json:"created_at"`
	UpdatedAt     time.Time `json:"updated_at"`
}

type page struct {
	Data       []number `json:"data"`
	Pagination struct {
		Total      int `json:"total"`
		TotalPages int `json:"total_pages"`
	} `json:"pagination"`
}

// group is the labels of a sample; how many of them are used is for the family to say.
type group [4]string

// seen is what of a number may change.
type seen struct {
	status, currency string
	monthlyFee       float64
}

type listing struct {
	numbers, capabilities, assignments   map[group]float64
	regions, trunks, applications        map[group]float64
	monthlyFees, setupFees, assignedFees map[group]float64
	oldestUpdate                         map[string]time.Time
	newestCreation                       time.Time
	suspended                            []number
	truncated, reported                  int
	seen                                 map[string]seen
}

type exporter struct {
	numbersURL, key, account string
	interval                 time.Duration
	statuses                 map[string]bool
	limit                    int

	mu                                             sync.RWMutex
	last                                           *listing
	up                                             bool
	succeeded, failed, added, removed, more, fewer float64
	changes                                        map[group]float64
	lastPoll, lastSuccess                          time.Time
	took                                           time.Duration
	pages                                          int
	requests                                       *prometheus.CounterVec
	durations                                      prometheus.Histogram
}

func (e *exporter) page(n int) (*page, error) {
	start := time.Now()
	request, err := http.NewRequest("GET", fmt.Sprintf("%s?page=%d&per_page=100", e.numbersURL, n), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+e.key)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		e.requests.WithLabelValues(e.account, "error").Inc()
		return nil, err
	}
	defer response.Body.Close()
	e.requests.WithLabelValues(e.account, fmt.Sprint(response.StatusCode)).Inc()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("page %d: %s", n, response.Status)
	}
	var p page
	if err := json.NewDecoder(response.Body).Decode(&p); err != nil {
		return nil, fmt.Errorf("page %d: %w", n, err)
	}
	e.durations.Observe(time.Since(start).Seconds())
	return &p, nil
}

func (e *exporter) list() (*listing, int, error) {
	l := &listing{
		numbers: map[group]float64{}, capabilities: map[group]float64{}, assignments: map[group]float64{},
		regions: map[group]float64{}, trunks: map[group]float64{}, applications: map[group]float64{},
		monthlyFees: map[group]float64{}, setupFees: map[group]float64{}, assignedFees: map[group]float64{},
		oldestUpdate: map[string]time.Time{}, seen: map[string]seen{},
	}
	for n := 1; ; n++ {
		p, err := e.page(n)
		if err != nil {
			return nil, n, err
		}
		l.reported = p.Pagination.Total
		for _, number := range p.Data {
			e.fold(l, number)
		}
		if n >= p.Pagination.TotalPages {
			sort.Slice(l.suspended, func(i, j int) bool { return l.suspended[i].UpdatedAt.Before(l.suspended[j].UpdatedAt) })
			if len(l.suspended) > e.limit {
				l.truncated = len(l.suspended) - e.limit
				l.suspended = l.suspended[:e.limit]
			}
			return l, n, nil
		}
	}
}

func (e *exporter) fold(l *listing, n number) {
	if _, twice := l.seen[n.E164]; twice {
		return
	}
	l.seen[n.E164] = seen{n.Status, n.Currency, n.MonthlyFee}
	for _, status := range []string{"active", "pending", "suspended"} {
		l.numbers[group{n.Country, n.Type, status}] += 0
		l.monthlyFees[group{n.Country, n.Type, status, n.Currency}] += 0
		l.setupFees[group{n.Country, n.Type, status, n.Currency}] += 0
	}
	l.numbers[group{n.Country, n.Type, n.Status}]++
	l.monthlyFees[group{n.Country, n.Type, n.Status, n.Currency}] += n.MonthlyFee
	l.setupFees[group{n.Country, n.Type, n.Status, n.Currency}] += n.SetupFee
	for _, capability := range n.Capabilities {
		l.capabilities[group{capability, n.Status}]++
	}
	assignment := "none"
	switch {
	case n.TrunkID != "" && n.ApplicationID != "":
		assignment = "both"
	case n.TrunkID != "":
		assignment = "trunk"
	case n.ApplicationID != "":
		assignment = "application"
	}
	l.assignments[group{assignment, n.Status}]++
	l.assignedFees[group{assignment, n.Status, n.Currency}] += n.MonthlyFee
	l.regions[group{n.Country, n.Region, n.Status}]++
	l.trunks[group{n.TrunkID, n.Status}]++
	l.applications[group{n.ApplicationID, n.Status}]++
	if oldest, ok := l.oldestUpdate[n.Status]; !ok || n.UpdatedAt.Before(oldest) {
		l.oldestUpdate[n.Status] = n.UpdatedAt
	}
	if n.CreatedAt.After(l.newestCreation) {
		l.newestCreation = n.CreatedAt
	}
	if e.statuses[n.Status] {
		l.suspended = append(l.suspended, n)
	}
}

func (e *exporter) poll() {
	start := time.Now()
	l, pages, err := e.list()
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		log.Print(err)
		e.failed++
		e.up = false
	} else {
		if e.last != nil {
			e.compare(e.last.seen, l.seen)
		}
		e.last, e.up = l, true
		e.succeeded++
		e.lastSuccess = time.Now()
	}
	e.lastPoll, e.took, e.pages = time.Now(), time.Since(start), pages
}

func (e *exporter) compare(before, after map[string]seen) {
	for e164, is := range after {
		was, ok := before[e164]
		if !ok {
			e.added++
			continue
		}
		if was.status != is.status {
			e.changes[group{was.status, is.status}]++
		}
		if was.currency == is.currency && was.monthlyFee < is.monthlyFee {
			e.more++
		}
		if was.currency == is.currency && was.monthlyFee > is.monthlyFee {
			e.fewer++
		}
	}
	for e164 := range before {
		if _, ok := after[e164]; !ok {
			e.removed++
		}
	}
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("tryvox_"+name, help, append([]string{"account"}, labels...), nil)
}

var (
	numbersDesc        = desc("numbers", "Phone numbers.", "country", "type", "status")
	monthlyFeesDesc    = desc("monthly_fees", "Sum of the monthly fees.", "country", "type", "status", "currency")
	setupFeesDesc      = desc("setup_fees", "Sum of the setup fees.", "country", "type", "status", "currency")
	capabilitiesDesc   = desc("capability_numbers", "Phone numbers by capability.", "capability", "status")
	assignmentsDesc    = desc("assignment_numbers", "Phone numbers by assignment.", "assignment", "status")
	assignedFeesDesc   = desc("assignment_monthly_fees", "Monthly fees by assignment.", "assignment", "status", "currency")
	regionsDesc        = desc("region_numbers", "Phone numbers by region.", "country", "region", "status")
	trunksDesc         = desc("trunk_numbers", "Phone numbers by trunk.", "trunk_id", "status")
	applicationsDesc   = desc("application_numbers", "Phone numbers by application.", "application_id", "status")
	oldestUpdateDesc   = desc("oldest_update_timestamp_seconds", "Oldest update.", "status")
	newestCreationDesc = desc("newest_creation_timestamp_seconds", "Newest creation.")
	infoDesc           = desc("number_info", "A phone number.", "e164", "country", "type", "region", "status", "trunk_id", "application_id")
	feeDesc            = desc("number_monthly_fee", "Its monthly fee.", "e164", "currency")
	updatedDesc        = desc("number_updated_timestamp_seconds", "Its last update.", "e164")
	truncatedDesc      = desc("number_series_truncated", "Phone numbers left out.")
	listedDesc         = desc("listed_numbers", "Phone numbers listed.")
	reportedDesc       = desc("reported_numbers", "Phone numbers reported.")
	addedDesc          = desc("numbers_added_total", "Phone numbers added.")
	removedDesc        = desc("numbers_removed_total", "Phone numbers removed.")
	statusChangesDesc  = desc("number_status_changes_total", "Changes of status.", "from", "to")
	feeChangesDesc     = desc("number_fee_changes_total", "Changes of fee.", "direction")
	upDesc             = desc("up", "1 if the last poll succeeded.")
	pollsDesc          = desc("polls_total", "Polls.", "result")
	lastPollDesc       = desc("last_poll_timestamp_seconds", "The last poll.")
	lastSuccessDesc    = desc("last_success_timestamp_seconds", "The last success.")
	tookDesc           = desc("last_poll_duration_seconds", "How long it took.")
	pagesDesc          = desc("last_poll_pages", "How many pages it read.")
	intervalDesc       = desc("poll_interval_seconds", "The interval.")
)

// Describe sends nothing: which families there are depends on the listing.
func (e *exporter) Describe(chan<- *prometheus.Desc) {}

func (e *exporter) Collect(ch chan<- prometheus.Metric) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	send := func(desc *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, kind, value, append([]string{e.account}, labels...)...)
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		send(desc, prometheus.GaugeValue, value, labels...)
	}
	counter := func(desc *prometheus.Desc, value float64, labels ...string) {
		send(desc, prometheus.CounterValue, value, labels...)
	}
	table := func(desc *prometheus.Desc, labels int, values map[group]float64) {
		for group, value := range values {
			gauge(desc, value, group[:labels]...)
		}
	}
	up := 0.0
	if e.up {
		up = 1
	}
	gauge(upDesc, up)
	counter(pollsDesc, e.succeeded, "success")
	counter(pollsDesc, e.failed, "failure")
	counter(addedDesc, e.added)
	counter(removedDesc, e.removed)
	counter(feeChangesDesc, e.more, "increase")
	counter(feeChangesDesc, e.fewer, "decrease")
	for change, count := range e.changes {
		counter(statusChangesDesc, count, change[:2]...)
	}
	gauge(intervalDesc, e.interval.Seconds())
	if e.last == nil {
		return
	}
	gauge(lastPollDesc, float64(e.lastPoll.Unix()))
	gauge(lastSuccessDesc, float64(e.lastSuccess.Unix()))
	gauge(tookDesc, e.took.Seconds())
	gauge(pagesDesc, float64(e.pages))
	table(numbersDesc, 3, e.last.numbers)
	table(monthlyFeesDesc, 4, e.last.monthlyFees)
	table(setupFeesDesc, 4, e.last.setupFees)
	table(capabilitiesDesc, 2, e.last.capabilities)
	table(assignmentsDesc, 2, e.last.assignments)
	table(assignedFeesDesc, 3, e.last.assignedFees)
	table(regionsDesc, 3, e.last.regions)
	table(trunksDesc, 2, e.last.trunks)
	table(applicationsDesc, 2, e.last.applications)
	for status, updated := range e.last.oldestUpdate {
		gauge(oldestUpdateDesc, float64(updated.Unix()), status)
	}
	gauge(newestCreationDesc, float64(e.last.newestCreation.Unix()))
	for _, n := range e.last.suspended {
		gauge(infoDesc, 1, n.E164, n.Country, n.Type, n.Region, n.Status, n.TrunkID, n.ApplicationID)
		gauge(feeDesc, n.MonthlyFee, n.E164, n.Currency)
		gauge(updatedDesc, float64(n.UpdatedAt.Unix()), n.E164)
	}
	gauge(truncatedDesc, float64(e.last.truncated))
	gauge(listedDesc, float64(len(e.last.seen)))
	gauge(reportedDesc, float64(e.last.reported))
}

func main() {
	apiURL := flag.String("url", "http://127.0.0.1:10870", "the API")
	account := flag.String("account-id", "acc_demo", "the account")
	listen := flag.String("listen", "127.0.0.1:0", "where to listen")
	interval := flag.Duration("interval", 5*time.Minute, "time from poll to poll")
	status := flag.String("status", "suspended", "numbers in this status have series of their own; all for any")
	limit := flag.Int("limit", 1000, "so many of them")
	flag.Parse()

	e := &exporter{
		numbersURL: *apiURL + "/v1/account/" + url.PathEscape(*account) + "/numbers",
		key:        os.Getenv("TRYVOX_API_KEY"),
		account:    *account,
		interval:   *interval,
		statuses:   map[string]bool{*status: true},
		limit:      *limit,
		changes:    map[group]float64{},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tryvox_api_requests_total", Help: "Requests.",
		}, []string{"account", "code"}),
		durations: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tryvox_api_request_duration_seconds", Help: "What they took.",
			ConstLabels: prometheus.Labels{"account": *account},
		}),
	}
	if *status == "all" {
		e.statuses = map[string]bool{"active": true, "pending": true, "suspended": true}
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(e, e.requests, e.durations, prometheus.NewProcessCollector(prometheus.ProcessCollectorOpts{}))
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	go func() {
		for beat := time.NewTicker(*interval); ; <-beat.C {
			e.poll()
		}
	}()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("listening address=%s", listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}
