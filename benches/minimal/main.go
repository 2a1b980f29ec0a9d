// The smallest exporter for the same API that client_golang allows: pages are requested one after the other, encoding/json
// decodes six fields, and two families are counted in maps. It lists the account once for each line that it reads, and
// answers each with a line. It is a reference for the benchmarks and not meant for production.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

type number struct {
	E164       string  `json:"e164"`
	Country    string  `json:"country"`
	Type       string  `json:"type"`
	Status     string  `json:"status"`
	Currency   string  `json:"currency"`
	MonthlyFee float64 `json:"monthly_fee"`
}

type page struct {
	Data       []number `json:"data"`
	Pagination struct {
		TotalPages int `json:"total_pages"`
	} `json:"pagination"`
}

type numbersGroup struct{ country, kind, status string }

type feesGroup struct{ country, kind, status, currency string }

func get(url string) (*page, error) {
	request, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("TRYVOX_API_KEY"))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, response.Status)
	}
	var p page
	return &p, json.NewDecoder(response.Body).Decode(&p)
}

func main() {
	url := flag.String("url", "http://127.0.0.1:10870", "base URL of the API")
	flag.Parse()

	numbers := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tryvox_numbers", Help: "Phone numbers.",
	}, []string{"country", "type", "status"})
	fees := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tryvox_monthly_fees", Help: "Sum of the monthly fees.",
	}, []string{"country", "type", "status", "currency"})
	prometheus.MustRegister(numbers, fees)
	http.Handle("/metrics", promhttp.Handler())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(http.Serve(listener, nil)) }()

	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		counts, sums, total := map[numbersGroup]float64{}, map[feesGroup]float64{}, 0
		for n, pages := 1, 1; n <= pages; n++ {
			p, err := get(fmt.Sprintf("%s/v1/account/acc_demo/numbers?page=%d&per_page=100", *url, n))
			if err != nil {
				log.Fatal(err)
			}
			pages, total = p.Pagination.TotalPages, total+len(p.Data)
			for _, number := range p.Data {
				counts[numbersGroup{number.Country, number.Type, number.Status}]++
				sums[feesGroup{number.Country, number.Type, number.Status, number.Currency}] += number.MonthlyFee
			}
		}
		numbers.Reset()
		for group, count := range counts {
			numbers.WithLabelValues(group.country, group.kind, group.status).Set(count)
		}
		fees.Reset()
		for group, sum := range sums {
			fees.WithLabelValues(group.country, group.kind, group.status, group.currency).Set(sum)
		}
		fmt.Println(total)
	}
}
