from learner.questions.process import main

main()
