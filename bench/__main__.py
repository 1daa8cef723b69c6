from bench.ladder import main

main()
