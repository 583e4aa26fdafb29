"""What Fillcast's templates can say."""
