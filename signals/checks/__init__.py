"""What is judged at publication: time, prices, sides, repetitions, listed symbols."""
